/*
 * coracle: a real cluster in one command. This is the room's only header for others; README.md tells how the parts fit.
 */
#ifndef CLUSTER_CLUSTER_H
#define CLUSTER_CLUSTER_H

/* "coracle COMMAND …": up, down, status, logs, kubeconfig. Returns the exit status. */
int coracle_main(int argc, char **argv);

#endif
