#include "cluster/cluster.h"

#include <stdio.h>
#include <string.h>

#include "base/version.h"
#include "cluster/command.h"

static const struct cluster_command *const commands[] = {
    &cluster_cmd_up, &cluster_cmd_down, &cluster_cmd_status, &cluster_cmd_paths, &cluster_cmd_store, &cluster_cmd_logs, &cluster_cmd_kubeconfig,
    &cluster_cmd_enter, &cluster_cmd_forward, &cluster_cmd_server, &cluster_cmd_join, &cluster_cmd_token, &cluster_cmd_leave, &cluster_cmd_host,
};

static void usage(FILE *out)
{
    fprintf(out, "Coracle: Kubernetes %s in C. A real cluster in one command.\n\nUsage:\n"
                 "  coracle COMMAND [flags]\n\nCommands:\n", KUBERNETES_VERSION);
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        if (commands[i]->about) {
            fprintf(out, "  %-12s %s\n", commands[i]->name, commands[i]->about);
        }
    }
    fprintf(out, "  %-12s %s\n", "tunnel", "Carry the apiserver's connections to nodes by SSH or reverse tunnels");
    fprintf(out, "  %-12s %s\n", "hollow", "Simulate the kubelets of many nodes towards any kube-apiserver");
    fprintf(out, "\nIt is also kube-apiserver, kube-controller-manager, cloud-controller-manager, kube-scheduler, kubelet\n"
                 "and kube-proxy, under these names. 'coracle COMMAND --help' says more.\n");
}

int coracle_main(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        usage(argc < 2 ? stderr : stdout);
        return argc < 2 ? 1 : 0;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "version") == 0) {
        printf("Coracle %s (Kubernetes %s)\n", CORACLE_VERSION, KUBERNETES_VERSION);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        if (strcmp(commands[i]->name, argv[1]) == 0) {
            return commands[i]->run(argc - 1, argv + 1);
        }
    }
    fprintf(stderr, "Error: unknown command \"%s\" for \"coracle\"\nSee 'coracle --help'.\n", argv[1]);
    return 1;
}
