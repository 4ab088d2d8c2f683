//! A file system and a memtable index written against the public interface only.
