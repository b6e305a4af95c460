//! `types` has no functions.

use crate::bindings::wit::types;
use crate::host::Host;

impl types::Host for Host {}
