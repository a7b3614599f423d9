#include "base/flags.h"

#include <errno.h>
#include <math.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/encoding.h"
#include "base/log.h"
#include "base/unsafe.h"
#include "base/version.h"

/* The flags that every program has; what they fill is not kept but for the verbosity. */
struct common_options {
    bool help, logtostderr, alsologtostderr;
    struct str version, flag_defaults, vmodule, logging_format, stderrthreshold, log_flush;
    int32_t v;
};
static const struct flag common_flags[] = {
    FLAG_BOOL(struct common_options, help, "help", "false", "Print this text.", .letter = 'h'),
    FLAG_STRING(struct common_options, version, "version", "false",
                "Print the version and quit; --version=raw prints more.", .no_value = "true"),
    FLAG_STRING(struct common_options, flag_defaults, "flag-defaults", "document",
                "What unset flags mean: document, the original's defaults; secure, nothing unauthenticated or unverified."),
    FLAG_INT32(struct common_options, v, "v", "0", "How much is logged: 0, or 2 and more for details.", .letter = 'v'),
    /* What deployments pass about klog: values that hold here are taken, others refused. */
    FLAG_STRING(struct common_options, vmodule, "vmodule", "", "Levels are per program: only empty.", .hidden = true),
    FLAG_STRING(struct common_options, logging_format, "logging-format", "text", "The format of the log; only text."),
    FLAG_BOOL(struct common_options, logtostderr, "logtostderr", "true", "The log goes to stderr: only true.", .hidden = true),
    FLAG_BOOL(struct common_options, alsologtostderr, "alsologtostderr", "false",
              "Says nothing where the log goes to stderr anyway.", .hidden = true),
    FLAG_STRING(struct common_options, stderrthreshold, "stderrthreshold", "2",
                "Says nothing where the log goes to stderr anyway.", .hidden = true),
    FLAG_STRING(struct common_options, log_flush, "log-flush-frequency", "5s",
                "The longest a line waits; lines are written at once.", .hidden = true),
};

/* What was allocated for values lives as long as the process, and stays reachable. Command lines are parsed by one thread. */
static struct arena memory = { .budget = ARENA_NO_BUDGET };

static void *grow(void *old, size_t n, size_t size)
{
    void *grown = arena_grow_n(&memory, old, n, n + 1, size);
    if (!grown) {
        abort();
    }
    return grown;
}

struct parser {
    const struct flag_program *program;
    struct flag_section common;
    struct flag_result *result;
    struct err *err;
};

static const struct flag_section *section_at(const struct parser *p, size_t i)
{
    return i < p->program->n_sections ? &p->program->sections[i] : &p->common;
}

static const struct flag *find(const struct parser *p, struct str name, char letter, void **ret_value)
{
    for (size_t i = 0; i <= p->program->n_sections; i++) {
        const struct flag_section *s = section_at(p, i);
        for (size_t j = 0; j < s->n_flags; j++) {
            const struct flag *f = &s->flags[j];
            if (letter ? f->letter == letter : str_eq_c(name, f->name)) {
                *ret_value = (char *)s->options + f->offset;
                return f;
            }
        }
    }
    return NULL;
}

bool flags_parse_duration(struct str s, int64_t *ret_ms)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = { { "ns", 1e-6 }, { "us", 1e-3 }, { "\xc2\xb5s", 1e-3 }, { "ms", 1 },
                  { "s", 1e3 },   { "m", 6e4 },   { "h", 3.6e6 } };
    bool negative = false;
    if (s.len && (*s.ptr == '-' || *s.ptr == '+')) {
        negative = *s.ptr == '-';
        s = str_sub(s, 1, s.len);
    }
    if (str_eq_c(s, "0")) {
        *ret_ms = 0;
        return true;
    }
    if (!s.len) {
        return false;
    }
    double total = 0;
    while (s.len) {
        double number = 0, scale = 1;
        size_t digits = 0, i = 0;
        bool fraction = false;
        for (; i < s.len; i++) {
            char c = s.ptr[i];
            if (c == '.' && !fraction) {
                fraction = true;
            } else if (c >= '0' && c <= '9') {
                digits++;
                number = number * 10 + (c - '0');
                scale = fraction ? scale * 10 : 1;
            } else {
                break;
            }
        }
        if (!digits) {
            return false;
        }
        s = str_sub(s, i, s.len);
        size_t unit_len = 0;
        while (unit_len < s.len && s.ptr[unit_len] != '.' && !(s.ptr[unit_len] >= '0' && s.ptr[unit_len] <= '9')) {
            unit_len++;
        }
        bool known = false;
        for (size_t u = 0; u < ARRAY_SIZE(units); u++) {
            if (str_eq_c(str_sub(s, 0, unit_len), units[u].unit)) {
                total += number / scale * units[u].ms;
                known = true;
            }
        }
        if (!known) {
            return false;
        }
        s = str_sub(s, unit_len, s.len);
    }
    if (total > 9.2e12) { /* Go's limit: 292 years */
        return false;
    }
    *ret_ms = (int64_t)(negative ? -total : total);
    return true;
}

static void list_add(struct flag_strings *list, struct str item)
{
    list->items = grow(list->items, list->n, sizeof(*list->items));
    list->items[list->n++] = item;
}

/* Cuts at commas; a piece in double quotes keeps its commas (pflag reads CSV). */
static void list_add_cut(struct flag_strings *list, struct str value)
{
    if (str_empty(value)) {
        return;
    }
    for (;;) {
        ptrdiff_t at;
        struct str piece;
        if (value.len && *value.ptr == '"' && (at = str_find_char(str_sub(value, 1, value.len), '"')) >= 0) {
            piece = str_sub(value, 1, (size_t)at);
            value = str_sub(value, (size_t)at + 2, value.len);
        } else {
            at = str_find_char(value, ',');
            piece = at < 0 ? value : str_sub(value, 0, (size_t)at);
            value = str_sub(value, piece.len, value.len);
        }
        list_add(list, piece);
        if (str_empty(value)) {
            return;
        }
        value = str_sub(value, 1, value.len);
    }
}

/* Edits (insert, delete, replace, swap) from one name to the other; 99 for long names. */
static unsigned distance(struct str a, struct str b)
{
    enum { MAX = 64 };
    unsigned rows[3][MAX + 1];
    if (a.len > MAX || b.len > MAX) {
        return 99;
    }
    for (size_t j = 0; j <= b.len; j++) {
        rows[0][j] = (unsigned)j;
    }
    for (size_t i = 1; i <= a.len; i++) {
        unsigned *now = rows[i % 3], *before = rows[(i + 2) % 3], *two = rows[(i + 1) % 3];
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= b.len; j++) {
            unsigned best = before[j - 1] + (a.ptr[i - 1] != b.ptr[j - 1]);
            best = MIN(best, MIN(before[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] && a.ptr[i - 2] == b.ptr[j - 1]) {
                best = MIN(best, two[j - 2] + 1);
            }
            now[j] = best;
        }
    }
    return rows[a.len % 3][b.len];
}

/* Not one of the program's flags: one that upstream has, or one that is near to a name, or neither. */
static bool unknown_flag(const struct parser *p, struct str name)
{
    const struct flag *nearest = NULL;
    unsigned least = (unsigned)MAX(name.len / 3, (size_t)2) + 1;
    const char *why = p->program->why_absent ? p->program->why_absent(p->program->name, name) : NULL;
    if (why) {
        return err_set(p->err, ERR_INVALID, "--%.*s is known to Kubernetes, not implemented by Coracle: %s", STR_ARG(name), why);
    }
    for (size_t i = 0; i <= p->program->n_sections; i++) {
        const struct flag_section *s = section_at(p, i);
        for (size_t j = 0; j < s->n_flags; j++) {
            unsigned d = distance(name, str_c(s->flags[j].name));
            if (d < least) {
                least = d;
                nearest = &s->flags[j];
            }
        }
    }
    return nearest ? err_set(p->err, ERR_INVALID, "unknown flag: --%.*s; the nearest is --%s", STR_ARG(name), nearest->name)
                   : err_set(p->err, ERR_INVALID, "unknown flag: --%.*s", STR_ARG(name));
}

static bool number_error(struct err *err, const char *how, struct str value)
{
    return err_set(err, ERR_INVALID, "strconv.%s: parsing \"%.*s\": invalid syntax", how, STR_ARG(value));
}

/* Sets one value. 'first' is true when the flag is given for the first time (lists then forget their default). */
static bool set_value(const struct flag *f, void *at, struct str value, bool first, struct err *err)
{
    switch (f->kind) {
    case FLAG_KIND_BOOL: return str_to_bool(value, at) || number_error(err, "ParseBool", value);
    case FLAG_KIND_STRING: *(struct str *)at = value; return true;
    case FLAG_KIND_INT: return str_to_i64(value, at) || number_error(err, "ParseInt", value);
    case FLAG_KIND_INT32: return str_to_i32(value, at) || number_error(err, "ParseInt", value);
    case FLAG_KIND_FLOAT: {
        char text[64], *end;
        if (!str_to_cstr(value, text, sizeof(text)) || !text[0]) {
            return number_error(err, "ParseFloat", value);
        }
        double d = strtod(text, &end);
        if (*end || !isfinite(d)) {
            return number_error(err, "ParseFloat", value);
        }
        *(double *)at = d;
        return true;
    }
    case FLAG_KIND_DURATION:
        return flags_parse_duration(value, at) ||
               err_set(err, ERR_INVALID, "time: invalid duration \"%.*s\"", STR_ARG(value));
    case FLAG_KIND_STRINGS:
    case FLAG_KIND_ARRAY:
    case FLAG_KIND_MAP: {
        struct flag_strings *list = at;
        if (first) {
            list->n = 0;
        }
        size_t before = list->n;
        if (f->kind == FLAG_KIND_ARRAY) {
            list_add(list, value);
        } else {
            list_add_cut(list, value);
        }
        for (size_t i = before; f->kind == FLAG_KIND_MAP && i < list->n; i++) {
            if (str_find_char(list->items[i], '=') <= 0) {
                return err_set(err, ERR_INVALID, "malformed pair, expect string=string, got \"%.*s\"",
                               STR_ARG(list->items[i]));
            }
        }
        return true;
    }
    }
    return false;
}

static bool apply(struct parser *p, const struct flag *f, void *at, struct str value)
{
    struct err why;
    bool first = !flags_changed(p->result, f->name);
    if (!set_value(f, at, value, first, &why)) {
        char letter[8] = "";
        if (f->letter) {
            snprintf(letter, sizeof(letter), "-%c, ", f->letter);
        }
        return err_set(p->err, ERR_INVALID, "invalid argument \"%.*s\" for \"%s--%s\" flag: %s", STR_ARG(value), letter,
                       f->name, why.msg);
    }
    if (first) {
        p->result->changed = grow(p->result->changed, p->result->n_changed, sizeof(*p->result->changed));
        p->result->changed[p->result->n_changed++] = f;
    }
    return true;
}

static const char *no_value_of(const struct flag *f)
{
    return f->kind == FLAG_KIND_BOOL ? "true" : f->no_value;
}

/* One "--name…". '*i' moves over a value that is an argument of its own. */
static bool parse_long(struct parser *p, int argc, char **argv, int *i)
{
    struct str body = str_c(argv[*i] + 2), name, value;
    bool has_value = str_cut(body, '=', &name, &value);
    if (str_empty(name) || *name.ptr == '-') {
        return err_set(p->err, ERR_INVALID, "bad flag syntax: %s", argv[*i]);
    }
    void *at = NULL;
    const struct flag *f = find(p, name, 0, &at);
    if (!f) {
        return unknown_flag(p, name);
    }
    if (!has_value && no_value_of(f)) {
        value = str_c(no_value_of(f));
    } else if (!has_value) {
        if (*i + 1 >= argc) {
            return err_set(p->err, ERR_INVALID, "flag needs an argument: --%s", f->name);
        }
        value = str_c(argv[++*i]);
    }
    return apply(p, f, at, value);
}

/* One "-abc", "-v2", "-v=2" or "-v 2". */
static bool parse_short(struct parser *p, int argc, char **argv, int *i)
{
    const char *whole = argv[*i];
    for (const char *c = whole + 1; *c; c++) {
        void *at = NULL;
        const struct flag *f = find(p, STR_NULL, *c, &at);
        if (!f) {
            return err_set(p->err, ERR_INVALID, "unknown shorthand flag: '%c' in %s", *c, whole);
        }
        if (c[1] == '=') {
            return apply(p, f, at, str_c(c + 2));
        }
        if (no_value_of(f)) {
            if (!apply(p, f, at, str_c(no_value_of(f)))) {
                return false;
            }
            continue;
        }
        if (c[1]) {
            return apply(p, f, at, str_c(c + 1));
        }
        if (*i + 1 >= argc) {
            return err_set(p->err, ERR_INVALID, "flag needs an argument: '%c' in %s", *c, whole);
        }
        return apply(p, f, at, str_c(argv[++*i]));
    }
    return true;
}

/* Values that say what does not hold here are errors rather than ignored. */
static bool check_common(const struct common_options *c, struct err *err)
{
    if (!c->logtostderr) {
        return err_set(err, ERR_INVALID, "--logtostderr=false: the log always goes to stderr");
    }
    if (!str_empty(c->vmodule)) {
        return err_set(err, ERR_INVALID, "--vmodule: levels of single files are not implemented; --v sets the program's");
    }
    if (!str_eq_c(c->logging_format, "text")) {
        return err_set(err, ERR_INVALID, "--logging-format=%.*s: only text", STR_ARG(c->logging_format));
    }
    return true;
}

/* What unset flags mean on untrusted networks. */
static bool set_secure(const struct parser *p, struct err *err)
{
    for (size_t i = 0; i <= p->program->n_sections; i++) {
        const struct flag_section *s = section_at(p, i);
        for (size_t j = 0; j < s->n_flags; j++) {
            const struct flag *f = &s->flags[j];
            if (f->secure && !flags_changed(p->result, f->name) &&
                !set_value(f, (char *)s->options + f->offset, str_c(f->secure), true, err)) {
                return err_wrap(err, "the secure default of --%s", f->name);
            }
        }
    }
    return true;
}

static bool add_argument(struct parser *p, char *arg)
{
    if (!p->program->takes_arguments) {
        return err_set(p->err, ERR_INVALID, "unknown command \"%s\" for \"%s\"", arg, p->program->name);
    }
    p->result->args[p->result->n_args++] = arg;
    return true;
}

bool flags_parse(const struct flag_program *program, int argc, char **argv, struct flag_result *ret, struct err *err)
{
    struct common_options common = { .v = 0 };
    struct parser p = { .program = program, .result = ret, .err = err };
    p.common = (struct flag_section){ "Global", common_flags, ARRAY_SIZE(common_flags), &common };
    *ret = (struct flag_result){ .program = program, .args = arena_new_n(&memory, char *, (size_t)argc + 1) };
    if (!ret->args) {
        abort();
    }
    for (size_t i = 0; i <= program->n_sections; i++) {
        const struct flag_section *s = section_at(&p, i);
        for (size_t j = 0; j < s->n_flags; j++) {
            const struct flag *f = &s->flags[j];
            const char *initial = f->initial ? f->initial : "";
            void *at = (char *)s->options + f->offset;
            if (f->kind >= FLAG_KIND_STRINGS) {
                *(struct flag_strings *)at = (struct flag_strings){ 0 };
            }
            if (f->kind == FLAG_KIND_ARRAY && !initial[0]) {
                continue;
            }
            if (!set_value(f, at, str_c(initial), true, err)) {
                return err_wrap(err, "the default of --%s", f->name);
            }
        }
    }
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        bool ok;
        if (strcmp(arg, "--") == 0) {
            while (++i < argc) {
                if (!add_argument(&p, argv[i])) {
                    return false;
                }
            }
            break;
        }
        if (arg[0] == '-' && arg[1] == '-') {
            ok = parse_long(&p, argc, argv, &i);
        } else if (arg[0] == '-' && arg[1]) {
            ok = parse_short(&p, argc, argv, &i);
        } else {
            ok = add_argument(&p, argv[i]);
        }
        if (!ok) {
            return false;
        }
    }
    ret->secure = str_eq_c(common.flag_defaults, "secure");
    if (!ret->secure && !str_eq_c(common.flag_defaults, "document")) {
        return err_set(err, ERR_INVALID, "invalid argument \"%.*s\" for \"--flag-defaults\" flag: document or secure",
                       STR_ARG(common.flag_defaults));
    }
    ret->help = common.help;
    ret->version = !str_eq_c(common.version, "false");
    ret->verbosity = common.v;
    return (!ret->secure || set_secure(&p, err)) && check_common(&common, err);
}

bool flags_changed(const struct flag_result *r, const char *name)
{
    for (size_t i = 0; i < r->n_changed; i++) {
        if (strcmp(r->changed[i]->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static const struct flag *find_in(const struct flag_program *program, const char *name, void **ret_value)
{
    for (size_t i = 0; i < program->n_sections; i++) {
        const struct flag_section *s = &program->sections[i];
        for (size_t j = 0; j < s->n_flags; j++) {
            if (strcmp(s->flags[j].name, name) == 0) {
                *ret_value = (char *)s->options + s->flags[j].offset;
                return &s->flags[j];
            }
        }
    }
    return NULL;
}

void flags_value(const struct flag_result *r, const char *name, struct buf *b)
{
    void *at = NULL;
    const struct flag *f = find_in(r->program, name, &at);
    if (!f) {
        return;
    }
    switch (f->kind) {
    case FLAG_KIND_BOOL: buf_append_c(b, *(bool *)at ? "true" : "false"); break;
    case FLAG_KIND_STRING: buf_append(b, *(struct str *)at); break;
    case FLAG_KIND_INT: buf_append_i64(b, *(int64_t *)at); break;
    case FLAG_KIND_INT32: buf_append_i64(b, *(int32_t *)at); break;
    case FLAG_KIND_FLOAT: buf_printf(b, "%g", *(double *)at); break;
    case FLAG_KIND_DURATION: buf_printf(b, "%lldms", (long long)*(int64_t *)at); break;
    case FLAG_KIND_STRINGS:
    case FLAG_KIND_ARRAY:
    case FLAG_KIND_MAP: {
        const struct flag_strings *list = at;
        for (size_t i = 0; i < list->n; i++) {
            buf_printf(b, "%s%.*s", i ? "," : "", STR_ARG(list->items[i]));
        }
        break;
    }
    }
}

void flags_write_json(const struct flag_result *r, struct buf *b)
{
    const struct flag_program *program = r->program;
    struct buf value;
    buf_init(&value, BUF_NO_MAX);
    buf_printf(b, "{\"%s\":{\"flag-defaults\":\"%s\"", program->name, r->secure ? "secure" : "document");
    for (size_t i = 0; i < program->n_sections; i++) {
        for (size_t j = 0; j < program->sections[i].n_flags; j++) {
            buf_clear(&value);
            flags_value(r, program->sections[i].flags[j].name, &value);
            buf_printf(b, ",\"%s\":", program->sections[i].flags[j].name);
            json_text_append(b, buf_str(&value));
        }
    }
    buf_append_c(b, "}}");
    buf_deinit(&value);
}

static bool says_something(const struct flag_result *r, const char *name)
{
    struct buf b;
    buf_init(&b, BUF_NO_MAX);
    flags_value(r, name, &b);
    bool yes = flags_changed(r, name) && b.len > 0;
    buf_deinit(&b);
    return yes;
}

bool flags_exclusive(const struct flag_result *r, const char *a, const char *b, struct err *err)
{
    return !says_something(r, a) || !says_something(r, b) ||
           err_set(err, ERR_INVALID, "--%s and --%s contradict each other: give one of them", a, b);
}

bool flags_together(const struct flag_result *r, const char *a, const char *b, struct err *err)
{
    bool has_a = says_something(r, a), has_b = says_something(r, b);
    return has_a == has_b || err_set(err, ERR_INVALID, "--%s needs --%s", has_a ? a : b, has_a ? b : a);
}

void flags_note_unsafe(const struct flag_result *r, const char *name)
{
    void *at = NULL;
    const struct flag *f = find_in(r->program, name, &at);
    struct buf b;
    if (!f || !f->unsafe) {
        return;
    }
    buf_init(&b, BUF_NO_MAX);
    flags_value(r, name, &b);
    unsafe_note(r->program->name, f->name, buf_str(&b), flags_changed(r, name), f->unsafe, f->mend ? f->mend : "a safe value");
    buf_deinit(&b);
}

static const char *kind_word(enum flag_kind k)
{
    static const char *const words[] = { "", " string", " int", " int32", " float", " duration", " strings",
                                         " stringArray", " mapStringString" };
    return words[k];
}

static void help_flag(const struct flag *f, FILE *out)
{
    char head[160];
    if (f->letter) {
        snprintf(head, sizeof(head), "  -%c, --%s%s", f->letter, f->name, kind_word(f->kind));
    } else {
        snprintf(head, sizeof(head), "      --%s%s", f->name, kind_word(f->kind));
    }
    fprintf(out, "%s\n                %s", head, f->help);
    bool text = f->kind == FLAG_KIND_STRING && !f->no_value;
    if (f->initial && f->initial[0] && strcmp(f->initial, "false") != 0 && strcmp(f->initial, "0") != 0) {
        fprintf(out, text ? " (default \"%s\")" : " (default %s)", f->initial);
    }
    if (f->secure) {
        fprintf(out, text ? " (with --flag-defaults=secure \"%s\")" : " (with --flag-defaults=secure %s)", f->secure);
    }
    fputc('\n', out);
    if (f->unsafe) {
        fprintf(out, "                UNSAFE on an untrusted network: %s; mended by %s\n", f->unsafe, f->mend ? f->mend : "a safe value");
    }
}

void flags_help(const struct flag_program *program, FILE *out)
{
    struct parser p = { .program = program };
    p.common = (struct flag_section){ "Global", common_flags, ARRAY_SIZE(common_flags), NULL };
    fprintf(out, "%s\n\nUsage:\n  %s%s\n", program->about, program->usage ? program->usage : program->name,
            program->usage ? "" : " [flags]");
    for (size_t i = 0; i <= program->n_sections; i++) {
        const struct flag_section *s = section_at(&p, i);
        fprintf(out, "\n%s flags:\n\n", s->title);
        for (size_t j = 0; j < s->n_flags; j++) {
            if (!s->flags[j].hidden) {
                help_flag(&s->flags[j], out);
            }
        }
    }
}

int flags_main(const struct flag_program *program, int argc, char **argv, struct flag_result *ret)
{
    struct err err;
    if (!flags_parse(program, argc, argv, ret, &err)) {
        fprintf(stderr, "Error: %s\nSee '%s --help'.\n", err.msg, program->name);
        return 1;
    }
    if (ret->help) {
        flags_help(program, stdout);
        return 0;
    }
    if (ret->version) {
        printf("Kubernetes %s (Coracle %s)\n", KUBERNETES_VERSION, CORACLE_VERSION);
        return 0;
    }
    log_setup(program->name, ret->verbosity >= 4 ? LOG_TRACE : ret->verbosity >= 2 ? LOG_DEBUG : LOG_INFO);
    return -1;
}

struct str flags_map_get(const struct flag_strings *map, struct str key)
{
    struct str found = STR_NULL;
    for (size_t i = 0; i < map->n; i++) {
        struct str k, v;
        if (str_cut(map->items[i], '=', &k, &v) && str_eq(k, key)) {
            found = v;
        }
    }
    return found;
}
