// sigstore-js as a command: the npm package `sigstore` is a library, and `@sigstore/cli` can
// neither take a signing config nor a trusted root. Nothing here decides anything; every flag is
// handed to the library as it is.
//
//   sigstore-js sign   --token JWT SERVICES --bundle OUT FILE
//   sigstore-js attest --token JWT SERVICES --bundle OUT [--type PAYLOAD-TYPE] [--legacy] STATEMENT
//       SERVICES: TRUST (the signing config that the TUF mirror publishes), or --signing-config FILE,
//       or --fulcio URL [--rekor URL] [--tsa URL]
//       --legacy: the log entry of kind intoto 0.0.2 that older npm clients wrote (with --fulcio only)
//   sigstore-js verify TRUST --bundle IN (--email E | --uri U) --issuer U [FILE]
//       TRUST: --tuf-mirror URL --tuf-root FILE --tuf-cache DIR, or --trusted-root FILE
//
// Exit 0 accepted, 1 refused or failed (with the library's own error code), 2 usage.
'use strict';
const fs = require('node:fs');
const { parseArgs } = require('node:util');
const sigstore = require('sigstore');
const { bundleFromJSON, bundleToJSON } = require('@sigstore/bundle');
const { SigningConfig, TrustedRoot } = require('@sigstore/protobuf-specs');
const { bundleBuilderFromSigningConfig } = require('@sigstore/sign');
const { initTUF } = require('@sigstore/tuf');
const { toSignedEntity, toTrustMaterial, Verifier } = require('@sigstore/verify');

const readJson = (file) => JSON.parse(fs.readFileSync(file, 'utf8'));

async function signingConfig(flags) {
  if (flags['signing-config']) return SigningConfig.fromJSON(readJson(flags['signing-config']));
  const tuf = await initTUF({
    mirrorURL: flags['tuf-mirror'], rootPath: flags['tuf-root'], cachePath: flags['tuf-cache'],
  });
  return SigningConfig.fromJSON(JSON.parse(await tuf.getTarget('signing_config.v0.2.json')));
}

async function make(kind, data, flags) {
  const type = flags.type;
  if (flags.fulcio) {
    const options = {
      identityToken: flags.token, fulcioURL: flags.fulcio, rekorURL: flags.rekor,
      tlogUpload: Boolean(flags.rekor), tsaServerURL: flags.tsa, legacyCompatibility: flags.legacy,
    };
    return kind === 'sign' ? sigstore.sign(data, options) : sigstore.attest(data, type, options);
  }
  const builder = bundleBuilderFromSigningConfig({
    signingConfig: await signingConfig(flags),
    identityProvider: { getToken: async () => flags.token },
    bundleType: kind === 'sign' ? 'messageSignature' : 'dsseEnvelope',
  });
  return bundleToJSON(await builder.create({ data, type }));
}

async function verify(data, flags) {
  const bundle = readJson(flags.bundle);
  if (flags['trusted-root']) {
    const trust = toTrustMaterial(TrustedRoot.fromJSON(readJson(flags['trusted-root'])));
    const policy = {
      subjectAlternativeName: flags.email || flags.uri, extensions: { issuer: flags.issuer },
    };
    return new Verifier(trust).verify(toSignedEntity(bundleFromJSON(bundle), data), policy);
  }
  const options = {
    tufMirrorURL: flags['tuf-mirror'], tufRootPath: flags['tuf-root'],
    tufCachePath: flags['tuf-cache'], certificateIssuer: flags.issuer,
    certificateIdentityEmail: flags.email, certificateIdentityURI: flags.uri,
  };
  return data ? sigstore.verify(bundle, data, options) : sigstore.verify(bundle, options);
}

async function main() {
  const text = ['token', 'fulcio', 'rekor', 'tsa', 'signing-config', 'trusted-root', 'tuf-mirror',
    'tuf-root', 'tuf-cache', 'bundle', 'email', 'uri', 'issuer'];
  const options = Object.fromEntries(text.map((name) => [name, { type: 'string' }]));
  options.type = { type: 'string', default: 'application/vnd.in-toto+json' };
  options.legacy = options.version = { type: 'boolean' };
  const { values: flags, positionals: [command, file] } = parseArgs({ options, allowPositionals: true });
  if (flags.version) return console.log(require('sigstore/package.json').version);

  const data = file && fs.readFileSync(file);
  const complete = flags.bundle && { // a verification without an expected identity would prove little
    sign: file && flags.token, attest: file && flags.token,
    verify: (flags.email || flags.uri) && flags.issuer,
  }[command];
  if (!complete) {
    console.error('usage: see the head of sigstore-js.cjs');
    process.exit(2);
  }
  if (command === 'verify') {
    const { identity } = await verify(data, flags);
    return console.log(identity.subjectAlternativeName, identity.extensions.issuer);
  }
  fs.writeFileSync(flags.bundle, JSON.stringify(await make(command, data, flags)));
}

main().catch((error) => {
  console.error(`${error.code || error.name}: ${error.message}`);
  for (let cause = error.cause; cause; cause = cause.cause) console.error(`  caused by: ${cause.message}`);
  process.exit(error.code?.startsWith('ERR_PARSE_ARGS') ? 2 : 1);
});
