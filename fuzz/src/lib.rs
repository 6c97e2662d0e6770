//! Code shared by the fuzz targets: the layout of an input with a stream and the places at which it
//! is cut.

use ringway_codec::{DeflateParams, Limits, Role, WindowBits};
use ringway_testkit::decoder::symmetric;

/// An input of the targets that decode: a byte of flags, a byte with the number of cuts, a byte for
/// the distance of each cut from the previous one, and then the stream.
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
    /// Low limits, so that inputs reach them.
    pub const TIGHT: u8 = 2;
    /// permessage-deflate is negotiated.
    pub const DEFLATE: u8 = 4;
    /// With context takeover.
    pub const TAKEOVER: u8 = 8;
    /// The bound of the number of cuts.
    const MAX_CUTS: usize = 32;

    pub fn parse(data: &'d [u8]) -> Option<Self> {
        let (&[flags, count], rest) = data.split_first_chunk::<2>()?;
        let (distances, stream) = rest.split_at_checked(usize::from(count) % Self::MAX_CUTS)?;
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
