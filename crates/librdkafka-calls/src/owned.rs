//! Things of librdkafka that are freed when they go out of scope.

use std::ptr::NonNull;

/// A thing that librdkafka made for us and that we have to free.
pub(crate) struct Owned<T> {
    thing: NonNull<T>,
    free: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    /// Takes over what a constructor of librdkafka returned; `None` for a null pointer.
    ///
    /// # Safety
    /// `thing` is null, or it may be freed with `free` once, and nobody else does.
    pub(crate) unsafe fn new(thing: *mut T, free: unsafe extern "C" fn(*mut T)) -> Option<Self> {
        NonNull::new(thing).map(|thing| Self { thing, free })
    }

    /// Returns the pointer, valid for as long as `self`.
    pub(crate) const fn as_ptr(&self) -> *mut T {
        self.thing.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: whoever called `new` promised that this is the way to free it, and ours to do.
        unsafe { (self.free)(self.thing.as_ptr()) }
    }
}
