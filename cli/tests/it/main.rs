//! The `vidimus` command as people and scripts meet it: what it prints, how it ends, what it leaves behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod about;
mod attached;
mod blob;
mod chain;
mod conformance;
mod demo;
mod failures;
mod flags;
mod layers;
mod published;
mod readme;
mod registries;
mod sandbox;
mod table;
mod tools;
mod trust;
mod tuf;
