//! Another X.509 parser reads real Fulcio certificates, and finds the claims that we find.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use vidimus_core::{
    encoding::pem_one,
    fulcio::{Claims, Extension},
};
use x509_cert::{Certificate, der::Decode};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

const CERTIFICATES: [&str; 4] = [
    include_str!("../../../testdata/fulcio/email.pem"),
    include_str!("../../../testdata/fulcio/github.pem"),
    include_str!("../../../testdata/fulcio/k8s.pem"),
    include_str!("../../../testdata/fulcio/uri.pem"),
];

#[test]
fn claims_and_names_are_the_same() {
    let mut compared = 0;
    for pem in CERTIFICATES {
        let der = pem_one(&pem[..pem.find("-----END CERTIFICATE-----").unwrap() + 25], "CERTIFICATE").unwrap();
        let claims = Claims::from_certificate(&Certificate::from_der(&der).unwrap()).unwrap();
        let (rest, theirs) = X509Certificate::from_der(&der).unwrap();
        assert!(rest.is_empty());

        let values: BTreeMap<String, &[u8]> = theirs.extensions().iter().map(|e| (e.oid.to_id_string(), e.value)).collect();
        for extension in Extension::ALL {
            let value = values.get(&extension.oid().to_string()).map(|value| {
                // `.1` to `.6` are bare; the others a UTF8String, short enough for a length of one byte or two.
                let text = match (extension.is_bare(), value) {
                    (true, _) => value,
                    (false, [0x0C, len, text @ ..]) if usize::from(*len) == text.len() => text,
                    (false, [0x0C, 0x81, _, text @ ..]) => text,
                    (false, other) => panic!("{extension:?}: {other:?}"),
                };
                std::str::from_utf8(text).unwrap()
            });
            assert_eq!(claims.get(*extension), value, "{extension:?}");
            compared += usize::from(value.is_some());
        }

        let names = theirs.extensions().iter().find_map(|e| match e.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
            _ => None,
        });
        let name = match names.unwrap().as_slice() {
            [GeneralName::RFC822Name(name) | GeneralName::URI(name)] => *name,
            other => panic!("{other:?}"),
        };
        assert_eq!(claims.identity().unwrap().as_str(), name);
    }
    assert!(compared > 20, "only {compared} claims were compared");
}
