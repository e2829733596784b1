//! Memory without a lasting name that other processes of the same user can map.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::Error;
use std::os::fd::{AsRawFd, FromRawFd};

/// The memory, sparse: it takes room where it is touched only. Gone with the last process that has it open or mapped.
pub struct SharedFile {
    file: File,
    address: String,
    /// Of memory that has one.
    name: Option<CString>,
    /// Whether this process made it.
    own: bool,
}

impl SharedFile {
    /// New memory of `bytes` zeros.
    #[cfg(target_os = "linux")]
    pub fn create(bytes: u64) -> Result<Self, Error> {
        let fd = unsafe { libc::memfd_create(c"gpt-lab-collective".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(Error::last_os_error());
        }
        let file = unsafe { File::from_raw_fd(fd) };
        file.set_len(bytes)?;
        let address = format!("memfd:{}:{fd}", std::process::id());
        Ok(Self { file, address, name: None, own: true })
    }

    /// New memory of `bytes` zeros.
    #[cfg(not(target_os = "linux"))]
    pub fn create(bytes: u64) -> Result<Self, Error> {
        Self::create_named(bytes)
    }

    /// The same through POSIX, with a name until [`SharedFile::forget_name`]: for systems without memfd.
    #[cfg(any(test, not(target_os = "linux")))]
    fn create_named(bytes: u64) -> Result<Self, Error> {
        // macOS allows 31 characters.
        let name = format!("/gpt-lab-{:016x}", random());
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
        let file = open_named(&name, flags)?;
        let address = format!("posix:{name}");
        let shared = Self { file, address, name: CString::new(name).ok(), own: true };
        shared.file.set_len(bytes)?;
        Ok(shared)
    }

    /// The memory behind an address that another process gave.
    pub fn open(address: &str) -> Result<Self, Error> {
        let unknown = || Error::other("this is no address of a segment");
        let (kind, place) = address.split_once(':').ok_or_else(unknown)?;
        let file = match kind {
            "memfd" => {
                let (pid, fd) = place.split_once(':').ok_or_else(unknown)?;
                let (pid, fd): (u32, u32) = pid.parse().ok().zip(fd.parse().ok()).ok_or_else(unknown)?;
                OpenOptions::new().read(true).write(true).open(format!("/proc/{pid}/fd/{fd}"))?
            }
            "posix" => open_named(place, libc::O_RDWR)?,
            _ => return Err(unknown()),
        };
        let name = if kind == "posix" { CString::new(place).ok() } else { None };
        Ok(Self { file, address: address.into(), name, own: false })
    }

    /// What another process needs to open the memory, for as long as this one has it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Removes the name, if any, once everybody has opened the memory.
    pub fn forget_name(&self) {
        if let Some(name) = &self.name {
            unsafe { libc::shm_unlink(name.as_ptr()) };
        }
    }

    /// Maps `bytes` from `offset`, both multiples of the page size.
    pub fn map(&self, offset: u64, bytes: usize) -> Result<Window, Error> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let (fd, offset) = (self.file.as_raw_fd(), offset as libc::off_t);
        let base = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, libc::MAP_SHARED, fd, offset) };
        if base == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        Ok(Window { base: base.cast(), bytes })
    }

    /// Size of the memory.
    pub fn bytes(&self) -> Result<u64, Error> {
        Ok(self.file.metadata()?.len())
    }
}

impl Drop for SharedFile {
    fn drop(&mut self) {
        if self.own {
            self.forget_name();
        }
    }
}

/// Not for secrets: a number that no other process draws.
#[cfg(any(test, not(target_os = "linux")))]
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.finish()
}

fn open_named(name: &str, flags: libc::c_int) -> Result<File, Error> {
    let name = CString::new(name)?;
    let fd = unsafe { libc::shm_open(name.as_ptr(), flags, 0o600 as libc::c_uint) };
    if fd < 0 { Err(Error::last_os_error()) } else { Ok(unsafe { File::from_raw_fd(fd) }) }
}

/// A part of the memory as this process sees it.
pub struct Window {
    base: *mut u8,
    bytes: usize,
}

unsafe impl Send for Window {}
unsafe impl Sync for Window {}

impl Window {
    /// The byte at `offset`, where `bytes` lie inside.
    pub fn at(&self, offset: usize, bytes: usize) -> *mut u8 {
        assert!(offset + bytes <= self.bytes);
        self.base.wrapping_add(offset)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        unsafe { libc::munmap(self.base.cast(), self.bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_shared(file: SharedFile) {
        let other = SharedFile::open(file.address()).unwrap();
        assert_eq!(other.bytes().unwrap(), 1 << 20);
        let (mine, theirs) = (file.map(1 << 16, 1 << 16).unwrap(), other.map(0, 1 << 20).unwrap());
        unsafe {
            assert_eq!(theirs.at((1 << 16) + 5, 1).read(), 0);
            mine.at(5, 1).write(42);
            assert_eq!(theirs.at((1 << 16) + 5, 1).read(), 42);
        }
        drop((file, mine));
        assert_eq!(unsafe { theirs.at((1 << 16) + 5, 1).read() }, 42);
    }

    #[test]
    fn memory_is_shared_by_address_and_outlives_its_maker_but_not_its_last_user() {
        is_shared(SharedFile::create(1 << 20).unwrap());
        is_shared(SharedFile::create_named(1 << 20).unwrap());
    }

    #[test]
    fn a_name_goes_when_everybody_has_opened_the_memory_or_its_maker_drops_it() {
        let file = SharedFile::create_named(4096).unwrap();
        let other = SharedFile::open(file.address()).unwrap();
        other.forget_name();
        assert!(SharedFile::open(file.address()).is_err());
        let file = SharedFile::create_named(4096).unwrap();
        let address = file.address().to_owned();
        drop(file);
        assert!(SharedFile::open(&address).is_err());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for address in ["", "memfd:1", "memfd:x:1", "file:/etc/passwd", "posix:/gpt-lab-missing"] {
            assert!(SharedFile::open(address).is_err(), "{address}");
        }
    }
}
