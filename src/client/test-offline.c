#include "client/test-offline.h"

#include "base/test.h"

void offline_init(struct offline *o, informer_event_fn *on_event, void *data)
{
    struct err err;
    struct client_config config = { .server = STR_INIT("http://127.0.0.1:1") };
    struct client_options options = { 0 };
    struct informer_spec spec = { .resource = api_resource_find(STR(""), STR("v1"), STR("pods")) };
    o->loop = loop_new(&err);
    o->client = client_new(o->loop, &config, &options, &err);
    CHECK_OK(o->client, &err);
    o->set = informers_new(o->client);
    o->pods = informers_get(o->set, &spec, on_event, data);
}

void offline_deinit(struct offline *o)
{
    informers_free(o->set);
    client_free(o->client);
    loop_free(o->loop);
}
