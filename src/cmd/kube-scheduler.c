#include "cmd/cmd.h"

#include "base/fs.h"
#include "base/log.h"
#include "cmd/absent-flags.h"
#include "cmd/sandbox-flags.h"
#include "scheduler/config-file.h"
#include "scheduler/scheduler.h"

#define CONFIG_MAX (1u << 20)

struct options {
    struct str config, scheduler_name;
    int32_t percentage_of_nodes;
};

static const struct flag flags[] = {
    FLAG_STRING(struct options, config, "config", "",
                "A KubeSchedulerConfiguration file; flags that are given come before it"),
    FLAG_STRING(struct options, scheduler_name, "scheduler-name", "default-scheduler",
                "Pods whose spec.schedulerName is this are scheduled"),
    FLAG_INT32(struct options, percentage_of_nodes, "percentage-of-nodes-to-score", "0",
               "How many of a large cluster's nodes are looked at before one is chosen; 0 adapts "
               "to the size"),
};

static const struct flag port_flags[] = { COMPONENT_PORT_FLAGS("", "10251", "10259") };

struct state {
    struct sandbox_options sandbox;
    struct options options;
    struct arena arena; /* of the configuration */
    struct sched_settings settings;
    struct scheduler *scheduler;
};

static void on_synced(void *data)
{
    scheduler_synced(((struct state *)data)->scheduler);
}

static bool start(struct component *c, void *data, struct err *err UNUSED)
{
    struct state *s = data;
    struct scheduler_config config = {
        .profiles = s->settings.profiles,
        .n_profiles = s->settings.n_profiles,
        .initial_backoff_ms = s->settings.initial_backoff_ms,
        .max_backoff_ms = s->settings.max_backoff_ms,
        .cycle = { .percentage_of_nodes = s->settings.percentage_of_nodes },
    };
    s->scheduler = scheduler_new(c, &config);
    component_on_synced(c, on_synced, s);
    return true;
}

static void stop(void *data)
{
    struct state *s = data;
    s->scheduler = scheduler_free(s->scheduler);
}

/* The file, then what flags say; without a file one profile, that of --scheduler-name. */
static bool configure(struct state *s, struct component_options *component, const struct flag_result *given, struct err *err)
{
    const struct options *o = &s->options;
    struct sched_settings *settings = &s->settings;
    struct buf b;
    arena_init(&s->arena, 16 * CONFIG_MAX);
    buf_init(&b, CONFIG_MAX);
    bool ok = !o->config.len || ((fs_read(arena_cstr(&s->arena, o->config), CONFIG_MAX, &b, err) &&
                                  sched_config_read(&s->arena, arena_str(&s->arena, buf_str(&b)), given, component, settings, err)) ||
                                 err_wrap(err, "--config %.*s", STR_ARG(o->config)));
    buf_deinit(&b);
    if (!ok) {
        return false;
    }
    if (o->percentage_of_nodes < 0 || o->percentage_of_nodes > 100) {
        return err_set(err, ERR_INVALID, "--percentage-of-nodes-to-score=%d is no percentage", o->percentage_of_nodes);
    }
    if (settings->n_profiles && flags_changed(given, "scheduler-name")) {
        return err_set(err, ERR_INVALID, "--scheduler-name and the profiles of --config contradict each other");
    }
    if (!settings->n_profiles) {
        settings->profiles[settings->n_profiles++] = sched_default_profile;
        settings->profiles[0].name = o->scheduler_name;
    }
    if (flags_changed(given, "percentage-of-nodes-to-score")) {
        settings->percentage_of_nodes = (unsigned)o->percentage_of_nodes;
    }
    return true;
}

int kube_scheduler_main(int argc, char **argv)
{
    static struct state state;
    static struct component_options options;
    static const struct component_spec spec = { .name = "kube-scheduler",
                                                .leader_name = "kube-scheduler" };
    const struct flag_section sections[] = {
        { "Scheduling", flags, ARRAY_SIZE(flags), &state.options },
        component_flag_section(&options),
        component_leader_section(&options),
        { "Ports", port_flags, ARRAY_SIZE(port_flags), &options },
        component_serving_section(&options),
        { "Sandbox", sandbox_flags, sandbox_n_flags, &state.sandbox },
    };
    struct flag_program program = { "kube-scheduler",
                                          "Chooses a node for each pod that has none.", sections,
                                          ARRAY_SIZE(sections) };
    struct flag_result result;
    struct err err;
    program.why_absent = absent_flag;
    int status = flags_main(&program, argc, argv, &result);
    if (status >= 0) {
        return status;
    }
    struct component *c = configure(&state, &options, &result, &err) && sandbox_apply(&program, &state.sandbox, 0, &err) ? component_new(&spec, &options, &result, &err) : NULL;
    if (!c) {
        log_error("%s", err.msg);
        return 1;
    }
    return component_run(c, start, stop, &state);
}
