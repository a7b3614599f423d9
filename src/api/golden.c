#include "api/golden.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/test.h"

const char *golden_dir(void)
{
    static char dir[400];
    const char *env = getenv("CORACLE_GOLDEN");
    /* The last two are the few that the project carries itself. */
    const char *candidates[] = { env, "../shared/golden", "../../shared/golden", "../../../shared/golden", "../tests/data/golden",
                                 "tests/data/golden" };

    for (size_t i = 0; i < ARRAY_SIZE(candidates); i++) {
        if (candidates[i] && access(candidates[i], R_OK) == 0) {
            snprintf(dir, sizeof(dir), "%s", candidates[i]);
            return dir;
        }
    }
    test_skip("no golden answers: set CORACLE_GOLDEN");
}

static int without_dots(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

/* "apps.v1.Deployment" -> resource. */
static const struct api_resource *resource_of_dir(const char *name)
{
    struct str s = str_c(name);
    ptrdiff_t kind = str_rfind_char(s, '.'), version;
    struct str group;

    if (kind < 0) {
        return NULL;
    }
    version = str_rfind_char(str_sub(s, 0, (size_t)kind), '.');
    if (version < 0) {
        return NULL;
    }
    group = str_sub(s, 0, (size_t)version);
    return api_resource_of_kind(str_eq_c(group, "core") ? STR("") : group,
                                str_sub(s, (size_t)version + 1, (size_t)(kind - version) - 1),
                                str_sub(s, (size_t)kind + 1, s.len));
}

void golden_objects(void (*each)(const struct golden_object *o, void *ctx), void *ctx)
{
    char top[512];
    struct dirent **kinds;
    int n_kinds;

    snprintf(top, sizeof(top), "%s/objects", golden_dir());
    n_kinds = scandir(top, &kinds, without_dots, alphasort);
    if (n_kinds <= 0) {
        test_skip("no captured objects");
    }
    for (int i = 0; i < n_kinds; i++) {
        struct golden_object o = { .resource = resource_of_dir(kinds[i]->d_name) };
        struct dirent **files;
        int n_files;

        CHECK(o.resource != NULL);
        CHECK(snprintf(o.dir, sizeof(o.dir), "%s/%s", top, kinds[i]->d_name) < (int)sizeof(o.dir));
        n_files = scandir(o.dir, &files, without_dots, alphasort);
        CHECK(n_files > 0);
        for (int k = 0; k < n_files; k++) {
            struct str file = str_c(files[k]->d_name);

            if (str_ends(file, STR(".out.json"))) {
                CHECK(str_to_cstr(str_sub(file, 0, file.len - 9), o.name, sizeof(o.name)));
                each(&o, ctx);
            }
            free(files[k]);
        }
        free(files);
        free(kinds[i]);
    }
    free(kinds);
}

struct str golden_file(struct arena *a, const struct golden_object *o, const char *ext)
{
    char path[800];

    snprintf(path, sizeof(path), "%s/%s.%s", o->dir, o->name, ext);
    return golden_path(a, path);
}

struct str golden_path(struct arena *a, const char *path)
{
    FILE *f;
    char *p;
    long size;

    f = fopen(path, "re");
    if (!f) {
        return STR_NULL;
    }
    CHECK(fseek(f, 0, SEEK_END) == 0 && (size = ftell(f)) >= 0 && fseek(f, 0, SEEK_SET) == 0);
    p = arena_alloc(a, (size_t)size + 1);
    CHECK(p && fread(p, 1, (size_t)size, f) == (size_t)size);
    fclose(f);
    return str_n(p, (size_t)size);
}

struct str golden_line(struct str s)
{
    return s.len && s.ptr[s.len - 1] == '\n' ? str_sub(s, 0, s.len - 1) : s;
}

void golden_show_difference(const char *what, struct str got, struct str want)
{
    size_t i = 0;

    while (i < got.len && i < want.len && got.ptr[i] == want.ptr[i]) {
        i++;
    }
    i = i > 40 ? i - 40 : 0;
    printf("  %s\n    got  ...%.*s\n    want ...%.*s\n", what, STR_ARG(str_sub(got, i, 160)), STR_ARG(str_sub(want, i, 160)));
}
