//! The protocol: requests in, replies out, in its versions 2 and 3.

pub mod reply;
pub mod request;
