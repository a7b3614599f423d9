/*
 * Command lines as the original programs take them (pflag): --name=value, --name value, --bool, --bool=false, -v 2, -v=2,
 * "--" ends the flags; flags and arguments may mix. The words of the errors are pflag's.
 *
 * A program describes its flags as tables; each table (a section of --help) fills its own struct of options, so that a room
 * can export flags that several programs share:
 *
 *     struct proxy_options { struct str kubeconfig; int64_t sync_ms; bool cleanup; struct flag_strings ranges; };
 *     static const struct flag proxy_flags[] = {
 *         FLAG_STRING(struct proxy_options, kubeconfig, "kubeconfig", "", "Path to a kubeconfig"),
 *         FLAG_DURATION(struct proxy_options, sync_ms, "sync-period", "30s", "How often everything is compared"),
 *     };
 *     int kube_proxy_main(int argc, char **argv)
 *     {
 *         static struct proxy_options opt;
 *         const struct flag_section sections[] = { { "Proxy", proxy_flags, ARRAY_SIZE(proxy_flags), &opt } };
 *         const struct flag_program program = { "kube-proxy", "What it does.", sections, ARRAY_SIZE(sections) };
 *         struct flag_result flags;
 *         int status = flags_main(&program, argc, argv, &flags);
 *         if (status >= 0) { return status; }
 *
 * --help, --version, --flag-defaults, -v/--v and the logging flags that deployments pass (--logtostderr, --vmodule, …) are always there.
 * The values borrow from argv and from the tables and live as long as they do; lists are allocated and live as long as the
 * process.
 */
#ifndef BASE_FLAGS_H
#define BASE_FLAGS_H

#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum flag_kind {
    FLAG_KIND_BOOL,     /* bool */
    FLAG_KIND_STRING,   /* struct str; never absent after parsing */
    FLAG_KIND_INT,      /* int64_t */
    FLAG_KIND_INT32,    /* int32_t */
    FLAG_KIND_FLOAT,    /* double */
    FLAG_KIND_DURATION, /* int64_t milliseconds, written as in Go: "1h2m3.5s", "300ms" */
    FLAG_KIND_STRINGS,  /* struct flag_strings; "a,b" and repeated; the first use replaces the default */
    FLAG_KIND_ARRAY,    /* struct flag_strings; repeated, commas are not cut */
    FLAG_KIND_MAP,      /* struct flag_strings of "key=value"; "a=b,c=d" and repeated */
};

struct flag_strings {
    struct str *items;
    size_t n;
};

struct flag {
    const char *name; /* without dashes */
    char letter;      /* shorthand, or 0 */
    enum flag_kind kind;
    size_t offset;       /* of the value in the section's options */
    const char *initial; /* the default, as it would be typed; NULL as "" */
    const char *help;    /* one sentence */
    bool hidden;         /* not in --help */
    const char *no_value; /* what "--name" alone means; NULL: an argument is needed (bools have "true") */
    const char *secure;   /* the default under --flag-defaults=secure; NULL: the same */
    const char *unsafe;   /* why the default is unsafe on an untrusted network, without its end; NULL: it is not */
    const char *mend;     /* with 'unsafe': what to say instead, "--read-only-port=0" */
};

typedef bool flag_type_bool;
typedef struct str flag_type_string;
typedef int64_t flag_type_int;
typedef int32_t flag_type_int32;
typedef double flag_type_float;
typedef struct flag_strings flag_type_list;

/* offsetof() that fails to compile when the member is of another type than the flag. */
#define FLAG_OFFSET(type, member, want) \
    (offsetof(type, member) + \
     0 * sizeof(char[__builtin_types_compatible_p(__typeof__(((type *)0)->member), want) ? 1 : -1]))
#define FLAG_ENTRY(flag_kind, want, type, member, flag_name, flag_initial, flag_help, ...) \
    { .name = (flag_name), .kind = (flag_kind), .offset = FLAG_OFFSET(type, member, want), \
      .initial = (flag_initial), .help = (flag_help), ##__VA_ARGS__ }
/* FLAG_x(struct options, member, "name", "default", "help"[, .letter = 'x'][, .hidden = true]) */
#define FLAG_BOOL(t, m, name, ...) FLAG_ENTRY(FLAG_KIND_BOOL, flag_type_bool, t, m, name, __VA_ARGS__)
#define FLAG_STRING(t, m, name, ...) FLAG_ENTRY(FLAG_KIND_STRING, flag_type_string, t, m, name, __VA_ARGS__)
#define FLAG_INT(t, m, name, ...) FLAG_ENTRY(FLAG_KIND_INT, flag_type_int, t, m, name, __VA_ARGS__)
#define FLAG_INT32(t, m, name, ...) FLAG_ENTRY(FLAG_KIND_INT32, flag_type_int32, t, m, name, __VA_ARGS__)
#define FLAG_FLOAT(t, m, name, ...) FLAG_ENTRY(FLAG_KIND_FLOAT, flag_type_float, t, m, name, __VA_ARGS__)
#define FLAG_DURATION(t, m, name, ...) FLAG_ENTRY(FLAG_KIND_DURATION, flag_type_int, t, m, name, __VA_ARGS__)
#define FLAG_STRINGS(t, m, name, ...) FLAG_ENTRY(FLAG_KIND_STRINGS, flag_type_list, t, m, name, __VA_ARGS__)
#define FLAG_ARRAY(t, m, name, ...) FLAG_ENTRY(FLAG_KIND_ARRAY, flag_type_list, t, m, name, __VA_ARGS__)
#define FLAG_MAP(t, m, name, ...) FLAG_ENTRY(FLAG_KIND_MAP, flag_type_list, t, m, name, __VA_ARGS__)

struct flag_section {
    const char *title; /* "Secure serving" */
    const struct flag *flags;
    size_t n_flags;
    void *options; /* the struct that the offsets are in */
};

struct flag_program {
    const char *name;
    const char *about; /* what the program does, for --help */
    const struct flag_section *sections;
    size_t n_sections;
    const char *usage;    /* "kube-proxy [flags]"; NULL: made from the name */
    bool takes_arguments; /* otherwise an argument that is no flag is an error */
    /* Why a flag of the original program is not there, told apart from one that nobody knows (NULL); may be NULL. */
    const char *(*why_absent)(const char *program, struct str flag);
};

struct flag_result {
    bool help, version;
    bool secure;   /* --flag-defaults=secure: unset flags mean what is safe on an untrusted network */
    int verbosity; /* -v */
    char **args;   /* what is not a flag, in order */
    size_t n_args;
    const struct flag **changed; /* the flags that were given */
    size_t n_changed;
    const struct flag_program *program;
};

/* Sets every option to its default, then to what the command line says (argv[0] is skipped). */
MUST_CHECK bool flags_parse(const struct flag_program *program, int argc, char **argv, struct flag_result *ret,
                            struct err *err);
/* Was the flag given, whatever its value? */
bool flags_changed(const struct flag_result *r, const char *name);
/* Says of two flags that were both given that they contradict each other: false with both names. */
MUST_CHECK bool flags_exclusive(const struct flag_result *r, const char *a, const char *b, struct err *err);
/* One of two flags that need each other (a certificate and its key) stands alone: false with both names. */
MUST_CHECK bool flags_together(const struct flag_result *r, const char *a, const char *b, struct err *err);
/* The flag's value is unsafe now: into the registry (base/unsafe.h), with the table's reason and mend. */
void flags_note_unsafe(const struct flag_result *r, const char *name);
/* What the flag is now, as it would be typed. */
void flags_value(const struct flag_result *r, const char *name, struct buf *b);
/* All flags and their values as one JSON object, the program's name above: {"kubelet":{"port":"10250",…}}. */
void flags_write_json(const struct flag_result *r, struct buf *b);
/* The text of --help. */
void flags_help(const struct flag_program *program, FILE *out);
/*
 * What every main begins with: parses, answers --help and --version, prints errors, sets the log up under the program's
 * name. Returns -1 to go on, or the exit status.
 */
MUST_CHECK int flags_main(const struct flag_program *program, int argc, char **argv, struct flag_result *ret);

/* "1h2m3.5s" to milliseconds, as Go's time.ParseDuration. False on anything else. */
MUST_CHECK bool flags_parse_duration(struct str s, int64_t *ret_ms);
/* The value of 'key' in a FLAG_MAP list ("key=value"), or absent. The last one wins. */
struct str flags_map_get(const struct flag_strings *map, struct str key);

#endif
