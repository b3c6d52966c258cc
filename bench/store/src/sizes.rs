//! Sizes: how many values a cache holds that replays a trace: those that others gave figures for, and shares of all keys else.

/// Traces that papers and other caches measure, by the name of their file. A name with `+` is of several, one after another.
const KNOWN: [(&str, &[usize]); 14] = [
    ("arc-OLTP", &[250, 500, 1_000, 2_000]),
    ("arc-P3", &[25_000, 50_000, 100_000, 200_000]),
    ("arc-P12", &[50_000, 200_000, 800_000]),
    ("lirs-loop", &[256, 512, 768, 1_000]),
    ("lirs-multi3", &[250, 500, 1_000, 2_000]),
    ("lirs-2_pools", &[100, 200, 400, 800]),
    ("lirs-gli", &[250, 500, 1_000, 2_000]),
    ("lirs-cpp", &[50, 100, 200, 400]),
    ("cache2k-web12", &[75, 300, 1_200, 3_000]),
    ("cache2k-orm-busy", &[625, 1_250, 2_500, 5_000]),
    ("cloudphysics-w106", &[2_000, 8_000, 32_000, 128_000]),
    ("corda-vaultservice", &[512, 4_096, 32_768]),
    ("scarab-recs", &[1_000, 5_000, 25_000, 100_000]),
    ("corda-vaultservice+lirs-loop+corda-vaultservice", &[512]),
];

/// The sizes for a trace of so many keys.
pub fn of(name: &str, keys: usize) -> Vec<usize> {
    match KNOWN.iter().find(|(known, _)| *known == name) {
        Some((_, sizes)) => sizes.to_vec(),
        None => [200, 50, 12, 3].map(|part| (keys / part).max(1)).to_vec(),
    }
}

/// The names of those that are made of others.
pub fn joined() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|(name, _)| *name).filter(|name| name.contains('+'))
}
