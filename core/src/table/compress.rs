//! The codecs of data blocks, each compiled in or not.

use alloc::vec::Vec;

use nokv_formats::block::COMPRESSED_RAW_BYTES_MAX;
pub use nokv_formats::block::Codec as Compression;

#[cfg(feature = "zstd")]
const ZSTD_LEVEL: i32 = 3;
/// LZ4 cannot shrink by more than this factor.
#[cfg(feature = "lz4")]
const LZ4_RATIO_MAX: usize = 256;

/// Is the codec compiled in?
pub const fn is_available(codec: Compression) -> bool {
    match codec {
        Compression::None => true,
        Compression::Lz4 => cfg!(feature = "lz4"),
        Compression::Zstd => cfg!(feature = "zstd"),
    }
}

/// The name of a codec, as errors show it.
pub(super) const fn name(codec: Compression) -> &'static str {
    match codec {
        Compression::None => "no codec",
        Compression::Lz4 => "codec lz4",
        Compression::Zstd => "codec zstd",
    }
}

/// Compresses `raw` into `out`, which it overwrites. False if that would not save an eighth; `out` then holds
/// nothing of use.
pub(super) fn compress(codec: Compression, raw: &[u8], out: &mut Vec<u8>) -> bool {
    if codec == Compression::None || raw.len() > COMPRESSED_RAW_BYTES_MAX {
        return false;
    }
    let worth = (raw.len() - raw.len() / 8).saturating_sub(4);
    out.clear();
    let len = match codec {
        #[cfg(feature = "lz4")]
        Compression::Lz4 => {
            out.resize(lz4_flex::block::get_maximum_output_size(raw.len()), 0);
            lz4_flex::block::compress_into(raw, out).ok()
        }
        #[cfg(feature = "zstd")]
        Compression::Zstd => {
            out.resize(worth, 0);
            zstd::bulk::compress_to_buffer(raw, &mut out[..], ZSTD_LEVEL).ok()
        }
        _ => None,
    };
    match len {
        Some(len) if len <= worth => {
            out.truncate(len);
            true
        }
        _ => false,
    }
}

/// Decompresses `bytes` into `out`, which it overwrites, to exactly `raw_len` bytes. False if that is not what
/// they hold. The codec is available and `raw_len` is capped.
pub(super) fn decompress(codec: Compression, bytes: &[u8], raw_len: usize, out: &mut Vec<u8>) -> bool {
    out.clear();
    match codec {
        #[cfg(feature = "lz4")]
        Compression::Lz4 => {
            if raw_len / LZ4_RATIO_MAX > bytes.len() {
                return false;
            }
            out.resize(raw_len, 0);
            lz4_flex::block::decompress_into(bytes, out).ok() == Some(raw_len)
        }
        #[cfg(feature = "zstd")]
        Compression::Zstd => {
            out.resize(raw_len, 0);
            zstd::bulk::decompress_to_buffer(bytes, &mut out[..]).ok() == Some(raw_len)
        }
        _ => {
            let _ = (bytes, raw_len);
            false
        }
    }
}
