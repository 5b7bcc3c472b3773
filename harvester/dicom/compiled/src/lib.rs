//! The compiled core of harvester's parser, behind a C interface.

/// The version of the interface; Python loads the library only if it is the one it was written for.
pub const ABI_VERSION: u32 = 1;

/// Returns the version of the interface.
#[no_mangle]
pub extern "C" fn harvester_abi_version() -> u32 {
    ABI_VERSION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exported_version_is_the_constant() {
        assert_eq!(harvester_abi_version(), ABI_VERSION);
    }
}
