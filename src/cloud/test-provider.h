/* A provider for tests that answers when it is told to. */
#ifndef CLOUD_TEST_PROVIDER_H
#define CLOUD_TEST_PROVIDER_H

#include "base/test.h"
#include "client/fixture.h"
#include "cloud/cloud.h"

/* The provider bare-metal with this configuration as cloud_settings, and a controller. */
static inline void cloud_begin(struct fixture *f, const struct controller_ops *ops, const char *config)
{
    struct err err;
    cloud_settings = (struct cloud_settings){ .provider = cloud_provider_find(STR("bare-metal")),
                                              .node_monitor_ms = 5000,
                                              .node_status_ms = 300000,
                                              .route_ms = 10000,
                                              .cluster_cidr = STR("10.244.0.0/16,fd01::/48") };
    CHECK(cloud_settings.provider != NULL);
    cloud_settings.state = cloud_settings.provider->open(str_c(config), &err);
    CHECK_OK(cloud_settings.state, &err);
    fixture_init(f, ops);
    cloud_settings.provider->watch(cloud_settings.state, f->informers);
}

static inline void cloud_end(struct fixture *f)
{
    fixture_deinit(f);
    cloud_settings.provider->close(cloud_settings.state);
}

#define CLOUD_HEAD "apiVersion: bare-metal.coracle.local/v1\nkind: BareMetalConfiguration\n"

#endif
