//! Tests of the crash model.
