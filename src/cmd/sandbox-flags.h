/*
 * --sandbox: a program that was started by hand confines itself as the supervisor confines those of `coracle up`
 * (cluster/confine.h): no capabilities but those named, no administrators' system calls, no files but the system's programs and
 * libraries (to read) and the folders of what its own flags name.
 */
#ifndef CMD_SANDBOX_FLAGS_H
#define CMD_SANDBOX_FLAGS_H

#include "base/flags.h"

struct sandbox_options {
    bool on;
    struct flag_strings paths;
};

/* A section's flags; the defaults are off by the document and on under --flag-defaults=secure. */
extern const struct flag sandbox_flags[];
extern const size_t sandbox_n_flags;

/* Confines this process, when the options say so. Before the first thread is made and after the flags were read; folders that flags
 * name and that are to be written to are made. 'keep' is a mask of capabilities (1 << CAP_x) that stay when they are there. Without
 * effect in sanitizer builds. False with the reason: then the program must not go on. */
MUST_CHECK bool sandbox_apply(const struct flag_program *program, const struct sandbox_options *o, uint64_t keep, struct err *err);

/* The same for whoever names the files: their folders are read, and those of 'write' written to, too. */
MUST_CHECK bool sandbox_apply_files(const struct sandbox_options *o, const struct str *read, size_t n_read, const struct str *write, size_t n_write,
                                    uint64_t keep, struct err *err);

#endif
