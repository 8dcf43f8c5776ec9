//! Who is connected, at which instance, until when, and who may not be any more.
