/*
 * A disk that fails, for the files under DISK_FOLDER of the program that this library is preloaded into.
 *
 * While the file DISK_FULL exists, no file grows (ENOSPC).
 * If DISK_JOURNAL is set, each write, truncation, deletion and sync is appended to that file, and syncs are not carried out: from the journal
 * a power cut can be played, after which only what was synced is certain to be there.
 *
 * A record of the journal: op (W, T, U, S), 3 bytes of padding, length of the path (u32), offset or size (u64), length of the data (u64), the
 * path, the data; numbers in the machine's order.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct record {
  char op;
  char padding[3];
  uint32_t path_length;
  uint64_t offset;
  uint64_t length;
};

/* Whether the file is one of ours; sets its path. */
static int ours(int fd, char *path) {
  const char *folder = getenv("DISK_FOLDER");
  if (folder == NULL) return 0;
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, PATH_MAX - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return strncmp(path, folder, strlen(folder)) == 0 && strstr(path, "-shm") == NULL;
}

static void note(char op, const char *path, uint64_t offset, const void *data, uint64_t length) {
  const char *journal = getenv("DISK_JOURNAL");
  if (journal == NULL) return;
  struct record record = {op, {0}, (uint32_t)strlen(path), offset, length};
  struct iovec parts[] = {{&record, sizeof record}, {(void *)path, record.path_length}, {(void *)data, length}};
  int fd = (int)syscall(SYS_openat, AT_FDCWD, journal, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || syscall(SYS_writev, fd, parts, 3) < 0) _exit(99);
  syscall(SYS_close, fd);
}

static int is_full(int fd, off_t end) {
  const char *flag = getenv("DISK_FULL");
  struct stat file;
  return flag != NULL && syscall(SYS_access, flag, F_OK) == 0 && fstat(fd, &file) == 0 && end > file.st_size;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static ssize_t written(int fd, const void *data, size_t length, off_t offset, ssize_t (*real)(int, const void *, size_t, off_t)) {
  char path[PATH_MAX];
  if (!ours(fd, path)) return real(fd, data, length, offset);
  if (is_full(fd, offset + (off_t)length)) {
    errno = ENOSPC;
    return -1;
  }
  ssize_t done = real(fd, data, length, offset);
  if (done > 0) note('W', path, (uint64_t)offset, data, (uint64_t)done);
  return done;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return written(fd, data, length, offset, REAL(pwrite)); }
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) { return written(fd, data, length, offset, REAL(pwrite)); }

/* write(2): where the file stands. */
static ssize_t written_here(int fd, const void *data, size_t length, off_t offset) {
  (void)offset;
  return syscall(SYS_write, fd, data, length);
}
ssize_t write(int fd, const void *data, size_t length) { return written(fd, data, length, lseek(fd, 0, SEEK_CUR), written_here); }

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
  char path[PATH_MAX];
  if (!ours(fd, path)) return REAL(pwritev)(fd, parts, count, offset);
  ssize_t sum = 0;
  for (int i = 0; i < count; i += 1) {
    ssize_t done = pwrite(fd, parts[i].iov_base, parts[i].iov_len, offset + sum);
    if (done < 0) return sum > 0 ? sum : -1;
    sum += done;
    if ((size_t)done < parts[i].iov_len) break;
  }
  return sum;
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) { return pwritev(fd, parts, count, offset); }

int posix_fallocate(int fd, off_t offset, off_t length) {
  char path[PATH_MAX];
  if (ours(fd, path) && is_full(fd, offset + length)) return ENOSPC;
  return REAL(posix_fallocate)(fd, offset, length);
}
int posix_fallocate64(int fd, off64_t offset, off64_t length) { return posix_fallocate(fd, offset, length); }

int ftruncate(int fd, off_t size) {
  char path[PATH_MAX];
  int is_ours = ours(fd, path);
  int result = (int)syscall(SYS_ftruncate, fd, size);
  if (is_ours && result == 0) note('T', path, (uint64_t)size, NULL, 0);
  return result;
}
int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

int unlink(const char *name) {
  char path[PATH_MAX];
  const char *folder = getenv("DISK_FOLDER");
  int is_ours = folder != NULL && realpath(name, path) != NULL && strncmp(path, folder, strlen(folder)) == 0;
  int result = (int)syscall(SYS_unlinkat, AT_FDCWD, name, 0);
  if (is_ours && result == 0 && strstr(path, "-shm") == NULL) note('U', path, 0, NULL, 0);
  return result;
}

static int synced(int fd, long call) {
  char path[PATH_MAX];
  if (getenv("DISK_JOURNAL") == NULL || !ours(fd, path)) return (int)syscall(call, fd);
  note('S', path, 0, NULL, 0);
  return 0;
}
int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }
