/* tests/support/server/temporary_folder.h: a folder of one test, gone after it. */
#ifndef TESTS_SUPPORT_SERVER_TEMPORARY_FOLDER_H
#define TESTS_SUPPORT_SERVER_TEMPORARY_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TEMPORARY_PATH_SIZE = 512 };

struct temporary_folder {
    char path[TEMPORARY_PATH_SIZE];
};

/* Under $TMPDIR, else /var/tmp: a real disk where /tmp may be memory. */
void temporary_folder_open(struct temporary_folder *folder);

/* Removes it with all that is in it. */
void temporary_folder_close(struct temporary_folder *folder);

/* Whether there is a file of that name in the folder. */
bool temporary_file_exists(const struct temporary_folder *folder, const char *name);

/* Bytes of the file; fails the test when there is none. */
uint64_t temporary_file_size(const struct temporary_folder *folder, const char *name);

/* Makes or replaces a small file. */
void temporary_file_write(const struct temporary_folder *folder, const char *name, const void *data,
                          size_t size);

/* Reads up to `capacity` bytes at `offset`; returns how many there were. */
size_t temporary_file_read(const struct temporary_folder *folder, const char *name, uint64_t offset,
                           void *data, size_t capacity);

/* Inverts the byte at `offset`. */
void temporary_file_flip(const struct temporary_folder *folder, const char *name, uint64_t offset);

/* Inverts the first byte of the last place where `pattern` stands; false when it stands nowhere. */
bool temporary_file_spoil(const struct temporary_folder *folder, const char *name,
                          const void *pattern, size_t size);

#endif
