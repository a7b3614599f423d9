/* coracle status */
#include "cluster/command.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/flags.h"
#include "cluster/config.h"
#include "cluster/host.h"
#include "cluster/status.h"

struct status_options {
    struct str name;
};

static const struct flag status_flags[] = {
    FLAG_STRING(struct status_options, name, "name", PLACE_DEFAULT_NAME, "The cluster's name; host is this host, where coracle server or join was."),
};

static void print_age(uint64_t seconds, char dst[24])
{
    if (seconds < 120) {
        snprintf(dst, 24, "%" PRIu64 "s", seconds);
    } else if (seconds < 7200) {
        snprintf(dst, 24, "%" PRIu64 "m", seconds / 60);
    } else if (seconds < 172800) {
        snprintf(dst, 24, "%" PRIu64 "h", seconds / 3600);
    } else {
        snprintf(dst, 24, "%" PRIu64 "d", seconds / 86400);
    }
}

/* "https://127.0.0.1:10259/healthz" to "127.0.0.1:10259", "unix:/run/x" to "/run/x". */
static struct str address_of(const char *url)
{
    struct str s = str_c(url);
    if (str_starts(s, STR("unix:"))) {
        return str_sub(s, 5, s.len);
    }
    ptrdiff_t at = str_find(s, STR("://"));
    s = str_sub(s, at < 0 ? 0 : (size_t)at + 3, s.len);
    at = str_find_char(s, '/');
    return at < 0 ? s : str_sub(s, 0, (size_t)at);
}

static bool print_table(const struct cluster_config *c, const struct status *s)
{
    uint64_t total = 0;
    bool healthy = true;
    if (strcmp(c->place.name, PLACE_HOST_NAME) == 0) {
        printf("This host (" HOST_CONF_FILE ")\n\n");
    } else {
        printf("Cluster \"%s\": %u node%s, API https://127.0.0.1:%u, store %s, %s\n\n", c->place.name, c->n_nodes,
               c->n_nodes == 1 ? "" : "s", c->api_port, cluster_store_name(c), c->offline ? "offline" : "online");
    }
    printf("%-24s %-8s %-18s %-32s %8s %10s %9s %6s\n", "COMPONENT", "NODE", "HEALTH", "ADDRESS", "PID", "MEMORY",
           "RESTARTS", "AGE");
    for (size_t i = 0; i < s->n; i++) {
        const struct status_line *l = &s->lines[i];
        char age[24], memory[24], pid[16];
        if (strcmp(l->state, "done") == 0) {
            continue;
        }
        struct str address = address_of(l->health_url);
        total += l->pss_kb;
        healthy = healthy && strcmp(l->health, "ok") == 0;
        print_age(l->seconds, age);
        snprintf(memory, sizeof(memory), "%.1f MB", (double)l->pss_kb / 1024);
        snprintf(pid, sizeof(pid), "%d", (int)l->pid);
        printf("%-24s %-8s %-18s %-32.*s %8s %10s %9u %6s\n", l->name, l->node, l->health, STR_ARG(address),
               l->pid > 0 ? pid : "-", memory, l->restarts, age);
    }
    printf("\nMemory is the proportional share (PSS), %.1f MB together.\n", (double)total / 1024);
    return healthy;
}

static int run(int argc, char **argv)
{
    static struct status_options o;
    static struct status s;
    const struct flag_section sections[] = { { "status", status_flags, ARRAY_SIZE(status_flags), &o } };
    const struct flag_program program = { .name = "coracle status",
                                          .about = "Shows each component with health, address and memory. The exit status is "
                                                   "0 when all are well, 1 when the cluster does not run, 2 otherwise.",
                                          .sections = sections,
                                          .n_sections = 1 };
    struct flag_result flags;
    struct cluster_config c;
    struct arena a;
    struct err err;
    int status = flags_main(&program, argc, argv, &flags);
    if (status >= 0) {
        return status;
    }
    arena_init(&a, 4 << 20);
    status = 1;
    if (!place_find(&c.place, o.name, flags_changed(&flags, "name"), &err) || !status_read(&c.place, &a, &s, &err) ||
        (strcmp(c.place.name, PLACE_HOST_NAME) != 0 && !cluster_config_load(&c, &err))) {
        fprintf(stderr, "Error: %s\n", err.msg);
    } else {
        status_probe(&c.place, &s);
        status_measure(&s);
        status = print_table(&c, &s) ? 0 : 2;
    }
    arena_deinit(&a);
    return status;
}

const struct cluster_command cluster_cmd_status = { .name = "status",
                                                    .about = "show each component with health, address and memory",
                                                    .run = run };
