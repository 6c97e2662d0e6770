//! Tests of the configuration of TLS.
