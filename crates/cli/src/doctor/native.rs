//! The facts that are not in files: the trial of io_uring, the kernel of the codec, the page size.

use ringway_io::uring::{LikelyCause, UringConfig};

/// What this process finds out by trial.
#[derive(Clone, Debug)]
pub(crate) struct Native {
    pub(crate) ring: Result<RingSupport, RingRefusal>,
    /// The instruction set that masks payloads.
    pub(crate) simd: &'static str,
    /// The width of its vectors in bytes.
    pub(crate) simd_width: usize,
    pub(crate) page_size: u64,
    /// The locked memory of one shard with the default options, in bytes.
    pub(crate) locked_per_shard: u64,
    /// The locked memory of the ring of the self-test, which the kernel releases late.
    pub(crate) locked_by_probe: u64,
}

/// The io_uring of this kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RingSupport {
    /// The setup flags in use.
    pub(crate) features: String,
    /// The setup flags that the kernel does not know.
    pub(crate) missing: Vec<&'static str>,
    pub(crate) is_restricted: bool,
}

/// Why there is no io_uring.
#[derive(Clone, Debug)]
pub(crate) struct RingRefusal {
    pub(crate) text: String,
    pub(crate) cause: LikelyCause,
}

impl Native {
    /// Tries. Takes some milliseconds.
    pub(crate) fn find_out() -> Self {
        let ring = ringway_io::uring::probe()
            .map(|features| RingSupport {
                features: features.to_string(),
                missing: features.missing_flags().collect(),
                is_restricted: features.is_restricted(),
            })
            .map_err(|refusal| RingRefusal { text: refusal.to_string(), cause: refusal.likely_cause() });
        let kernel = ringway_codec::mask::kernels()[0];
        let page_size = rustix::param::page_size() as u64;
        Self {
            ring,
            simd: kernel.name(),
            simd_width: kernel.width(),
            page_size,
            locked_per_shard: UringConfig::default().locked_bytes(),
            // A page for each of its three parts.
            locked_by_probe: 3 * page_size,
        }
    }
}
