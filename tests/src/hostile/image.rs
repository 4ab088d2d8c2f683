//! A directory as bytes: what targets on whole files take.
//!
//! ```text
//! image := file*
//! file  := path_len u8, path (UTF-8), len u32, zeros u32, bytes (len), then that many zeros that are not stored
//! ```
//! Reading never fails: the image ends at the first thing that is no file.

use nokv_core::formats::crc::crc32c;
use nokv_core::formats::manifest::{Edit, Group};
use nokv_core::formats::walfs::parse_segment_file_name;
use nokv_core::vfs::{Vfs, VfsFile};
use nokv_vfs_mem::MemFs;

use super::fixup;

/// All files together stand for at most this many zeros.
const ZEROS_MAX: usize = 2 << 20;
/// Runs of zeros from this length on are not stored.
const RUN_MIN: usize = 64;
const FILES_MAX: usize = 64;

/// A file of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path, relative.
    pub path: String,
    /// Its bytes, the zeros at the end included.
    pub bytes: Vec<u8>,
}

fn is_path(path: &str) -> bool {
    path.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && !part.contains('\0'))
}

/// The files of an image.
pub fn parse(mut image: &[u8]) -> Vec<File> {
    let mut files: Vec<File> = Vec::new();
    let mut room = ZEROS_MAX;
    while let Some((path_len, rest)) = image.split_first() {
        let Some((path, rest)) = rest.split_at_checked(usize::from(*path_len)) else { break };
        let Some(path) = std::str::from_utf8(path).ok().filter(|path| is_path(path)) else { break };
        let (Some(len), Some(zeros)) = (fixup::u32_at(rest, 0), fixup::u32_at(rest, 4)) else { break };
        let rest = &rest[8..];
        let (stored, behind) = rest.split_at(rest.len().min(len as usize));
        image = behind;
        let zeros = (zeros as usize).min(room);
        room -= zeros;
        let mut bytes = stored.to_vec();
        bytes.resize(stored.len() + zeros, 0);
        let collides = |file: &File| {
            let under = |a: &str, b: &str| {
                a.strip_prefix(b).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            under(&file.path, path) || under(path, &file.path)
        };
        if files.len() == FILES_MAX || files.iter().any(collides) {
            continue;
        }
        files.push(File { path: path.to_owned(), bytes });
    }
    files
}

/// The image of some files.
pub fn encode(files: &[File]) -> Vec<u8> {
    let mut out = Vec::new();
    for file in files {
        let used = file.bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        let stored = if file.bytes.len() - used < RUN_MIN { file.bytes.len() } else { used };
        out.push(u8::try_from(file.path.len()).expect("a short path"));
        out.extend_from_slice(file.path.as_bytes());
        out.extend_from_slice(&(stored as u32).to_le_bytes());
        out.extend_from_slice(&((file.bytes.len() - stored) as u32).to_le_bytes());
        out.extend_from_slice(&file.bytes[..stored]);
    }
    out
}

/// How many bytes the files of an image have.
pub fn weight(image: &[u8]) -> usize {
    image.len() + parse(image).iter().map(|file| file.bytes.len()).sum::<usize>()
}

/// The files below `dir`, but for lock files.
pub fn take(fs: &MemFs, dir: &str) -> Vec<File> {
    let files = crate::small_db::files(fs, dir)
        .into_iter()
        .filter(|path| !path.ends_with("LOCK") && !path.ends_with(".lock"));
    files.map(|path| File { bytes: fs.contents(&path).expect("a listed file"), path }).collect()
}

/// A file system with these files, all durable, but for one that is named as `dir`, which is there too.
pub fn mount(files: &[File], dir: &str) -> MemFs {
    let fs = MemFs::new();
    fs.create_dir_all(dir).expect("a new directory");
    let is_in_the_way =
        |path: &str| dir.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    for file in files.iter().filter(|file| !is_in_the_way(&file.path)) {
        if let Some((dir, _)) = file.path.rsplit_once('/') {
            fs.create_dir_all(dir).expect("no file is in the way");
        }
        let handle = fs.create(&file.path).expect("a name of its own");
        handle.write_at(&file.bytes, 0).expect("room");
    }
    fs.sync_all();
    fs
}

/// Puts the checksums of all files right, and those that files state of one another.
pub fn fix(files: &mut [File]) {
    let mut tables: Vec<(u64, u64, u32)> = Vec::new();
    for file in files.iter_mut() {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        // Records of the engine's own log say where they stand.
        let own = file.path.contains("wal/");
        if let Some(id) = nokv_core::formats::names::parse_table(name) {
            fixup::table(&mut file.bytes);
            tables.push((id.0, file.bytes.len() as u64, crc32c(&file.bytes)));
        } else if let Some(number) = parse_segment_file_name(name, ".wal") {
            fixup::segment(&mut file.bytes, own.then_some(number));
        } else if name.ends_with(".vlog") {
            fixup::value_log(&mut file.bytes);
        } else if name == nokv_core::formats::walfs::TRUNCATION_FILE_NAME {
            fixup::truncation(&mut file.bytes);
        }
    }
    let mut manifest = None;
    for file in files.iter_mut().filter(|file| file.path.contains("MANIFEST-")) {
        fixup::frames(&mut file.bytes, 0, None);
        name_tables(&mut file.bytes, &tables);
        manifest = Some((file.bytes.len() as u64, crc32c(&file.bytes)));
    }
    for file in files.iter_mut().filter(|file| file.path.contains("CURRENT")) {
        // magic 8, format 2, flags 2, zero 4, three numbers 24, then what a clean close states of the manifest.
        if let Some((len, crc)) = manifest.filter(|_| file.bytes.len() >= 44 + 40) {
            fixup::put(&mut file.bytes, 40, &len.to_le_bytes());
            fixup::put(&mut file.bytes, 48, &crc.to_le_bytes());
        }
        fixup::current(&mut file.bytes);
    }
}

/// Makes a manifest state length and checksum of the tables as they are.
fn name_tables(bytes: &mut Vec<u8>, tables: &[(u64, u64, u32)]) {
    let mut out = Vec::new();
    let mut at = 0;
    while let Ok((mut group, len)) = Group::decode(&bytes[at..]) {
        for edit in &mut group.edits {
            let Edit::AddTable { meta, .. } = edit else { continue };
            if let Some((_, len, crc)) = tables.iter().find(|(id, ..)| *id == meta.id.0) {
                let meta = std::sync::Arc::make_mut(meta);
                (meta.file_bytes, meta.checksum) = (*len, *crc);
            }
        }
        group.encode(&mut out);
        at += len;
    }
    out.extend_from_slice(&bytes[at..]);
    *bytes = out;
}

/// Runs `look` on the file system of an image, and on that of the image with its checksums put right.
pub fn both(image: &[u8], dir: &str, look: impl Fn(&MemFs)) {
    let mut files = parse(image);
    look(&mount(&files, dir));
    let before = files.clone();
    fix(&mut files);
    if files != before {
        drop(before);
        look(&mount(&files, dir));
    }
}
