//! Who may do what: the credentials of a request, the checks, the rules, the places.

mod admission;
mod places;
mod rates;

pub use places::{Full, Limit, Place, Places, PlacesConfig};
pub use rates::{Rates, RatesConfig, Submitter, TooManyEvents};
