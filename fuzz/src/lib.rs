//! Common parts of the fuzz targets: a decoder driven over a stream with arbitrary splits, and the
//! layout of an input that defines them.

use ringway_codec::{DeflateParams, Limits, Role, WindowBits};
use ringway_testkit::decoder::symmetric;

/// An input of the targets that decode: a byte of flags, a byte for the number of splits, a byte
/// for the distance between each two of them, and then the stream.
#[derive(Debug)]
pub struct Cut<'d> {
    pub role: Role,
    pub deflate: Option<DeflateParams>,
    pub limits: Limits,
    pub cuts: Vec<usize>,
    pub stream: &'d [u8],
}

impl<'d> Cut<'d> {
    pub const CLIENT: u8 = 1;
    /// The limits are tight, so that they matter.
    pub const TIGHT: u8 = 2;
    /// Messages may be compressed.
    pub const DEFLATE: u8 = 4;
    /// With context takeover.
    pub const TAKEOVER: u8 = 8;
    /// The maximum number of splits in an input.
    const MOST_CUTS: usize = 32;

    pub fn parse(data: &'d [u8]) -> Option<Self> {
        let (&[flags, count], rest) = data.split_first_chunk::<2>()?;
        let (distances, stream) = rest.split_at_checked(usize::from(count) % Self::MOST_CUTS)?;
        let mut cuts = Vec::with_capacity(distances.len());
        let mut at = 0;
        for &distance in distances {
            at = stream.len().min(at + usize::from(distance));
            cuts.push(at);
        }
        let role = if flags & Self::CLIENT == 0 { Role::Server } else { Role::Client };
        let limits = match flags & Self::TIGHT {
            0 => Limits::default(),
            _ => Limits { max_message: 200, fragment_cost: usize::from(flags >> 4) },
        };
        let params = symmetric(flags & Self::TAKEOVER != 0, WindowBits::MAX);
        let deflate = (flags & Self::DEFLATE != 0).then_some(params);
        Some(Self { role, deflate, limits, cuts, stream })
    }
}
