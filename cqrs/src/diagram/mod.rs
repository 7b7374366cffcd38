//! Diagrams
#![allow(dead_code)]
mod mermaid;
