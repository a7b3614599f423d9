/* Golden answers for tests: where they are, and their files. */
#ifndef API_GOLDEN_H
#define API_GOLDEN_H

#include "api/type.h"
#include "base/arena.h"

/* The directory named by CORACLE_GOLDEN, else ../shared/golden, else the few under tests/data; skips the test without any. */
const char *golden_dir(void);

/* One captured object: objects/<group.version.Kind>/<name>. */
struct golden_object {
    char dir[512];  /* the directory of the kind */
    char name[128]; /* "minimal", "full.status" */
    const struct api_resource *resource;
};
/* Calls 'each' for every object, in a stable order. */
void golden_objects(void (*each)(const struct golden_object *o, void *ctx), void *ctx);
/* The bytes of <dir>/<name>.<ext> in the arena; absent when there is no such file. */
struct str golden_file(struct arena *a, const struct golden_object *o, const char *ext);
/* The bytes of a file in the arena; absent when there is none. */
struct str golden_path(struct arena *a, const char *path);
/* Without a newline at the end. */
struct str golden_line(struct str s);
/* Prints where two texts part, for a person. */
void golden_show_difference(const char *what, struct str got, struct str want);

#endif
