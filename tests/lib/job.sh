# What scenarios of Jobs share.
# job NAME "spec fields" COMMAND [restartPolicy]
job() {
    kubectl apply -f - <<E2
apiVersion: batch/v1
kind: Job
metadata: {name: $1}
spec:
  $2
  template:
    spec:
      restartPolicy: ${4:-Never}
      terminationGracePeriodSeconds: 0
      containers: [{name: c, image: "coracle.local/busybox:1", command: [sh, -c, '$3']}]
E2
}
status_of() { kubectl get job "$1" -o "jsonpath={.status.$2}"; }
