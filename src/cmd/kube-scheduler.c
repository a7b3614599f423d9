#include "cmd/cmd.h"

#include "base/log.h"
#include "cmd/absent-flags.h"
#include "scheduler/scheduler.h"

struct options {
    struct str scheduler_name;
    int32_t percentage_of_nodes;
};

static const struct flag flags[] = {
    FLAG_STRING(struct options, scheduler_name, "scheduler-name", "default-scheduler",
                "Pods whose spec.schedulerName is this are scheduled"),
    FLAG_INT32(struct options, percentage_of_nodes, "percentage-of-nodes-to-score", "0",
               "How many of a large cluster's nodes are looked at before one is chosen; 0 adapts "
               "to the size"),
};

static const struct flag port_flags[] = { COMPONENT_PORT_FLAGS("", "10251", "10259") };

struct state {
    struct options options;
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
        .name = s->options.scheduler_name,
        .cycle = { .percentage_of_nodes = (unsigned)MAX(s->options.percentage_of_nodes, 0) },
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
    };
    struct flag_program program = { "kube-scheduler",
                                          "Chooses a node for each pod that has none.", sections,
                                          ARRAY_SIZE(sections) };
    struct flag_result result;
    struct err err;
    absent_flags(&program);
    int status = flags_main(&program, argc, argv, &result);
    if (status >= 0) {
        return status;
    }
    struct component *c = component_new(&spec, &options, &result, &err);
    if (!c) {
        log_error("%s", err.msg);
        return 1;
    }
    return component_run(c, start, stop, &state);
}
