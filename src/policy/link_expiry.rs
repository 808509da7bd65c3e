//! Placeholder, written on branch api.
