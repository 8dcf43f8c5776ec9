//! Who somebody is: tokens, the keys that verify them, and what they claim.
