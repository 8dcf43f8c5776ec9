//! Which of the topics of one name: a short hash of the id that Kafka gives to each.

/// Which of the topics that had a name one after the other. Equal on all instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Epoch(pub(super) u16);

impl Epoch {
    /// The broker does not tell topics apart, or was not asked yet.
    pub const UNKNOWN: Self = Self(0);

    /// Hashes the 16 bytes of a topic's id; all zero where the broker gives none.
    ///
    /// Of two topics, one in 65,535 pairs has the same epoch.
    #[must_use]
    pub fn of(id: [u8; 16]) -> Self {
        if id == [0; 16] {
            return Self::UNKNOWN;
        }
        // FNV-1a like the hash of the name, and folded, since the ends of an id may be fixed bits.
        let hash = id.iter().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
        });
        let [a, b, c, d] = hash.to_be_bytes();
        Self(u16::from_be_bytes([a ^ c, b ^ d]).max(1))
    }

    /// Returns whether the broker tells topics apart.
    #[must_use]
    pub fn is_known(self) -> bool {
        self != Self::UNKNOWN
    }

    /// Returns whether both are known to be about different topics.
    #[must_use]
    pub fn differs_from(self, other: Self) -> bool {
        self.is_known() && other.is_known() && self != other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_unknown_for_no_id_only_and_spreads() {
        assert_eq!(Epoch::of([0; 16]), Epoch::UNKNOWN);
        let epochs: std::collections::HashSet<Epoch> = (0..=255_u8)
            .flat_map(|byte| (0..16).map(move |place| (byte, place)))
            .filter(|(byte, _)| *byte > 0)
            .map(|(byte, place)| {
                let mut id = [0; 16];
                id[place] = byte;
                Epoch::of(id)
            })
            .collect();
        assert!(!epochs.contains(&Epoch::UNKNOWN));
        // Of 4,080 ids in 65,535 places, some 120 share one by chance.
        assert!(epochs.len() > 3_800, "{}", epochs.len());
    }

    #[test]
    fn an_unknown_epoch_contradicts_none() {
        let (a, b) = (Epoch(1), Epoch(2));
        assert!(a.differs_from(b) && !a.differs_from(a));
        assert!(!a.differs_from(Epoch::UNKNOWN) && !Epoch::UNKNOWN.differs_from(a));
    }
}
