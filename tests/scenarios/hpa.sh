# HorizontalPodAutoscalers: bounds hold without metrics; what cannot be measured is told and leaves the scale alone.
# limit: 60 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
need_program kubelet
up
kubectl_1_35
replicas() { out_has "$2" kubectl get deployment "$1" -o 'jsonpath=[{.spec.replicas}]'; }
condition() { kubectl get hpa "$1" -o "jsonpath={.status.conditions[?(@.type==\"$2\")].status} {.status.conditions[?(@.type==\"$2\")].reason}"; }

step "more than the maximum comes down, less than the minimum goes up"
check kubectl create deployment web --image=coracle.local/demo:1 --replicas=4
check kubectl set resources deployment web --requests=cpu=10m
check kubectl autoscale deployment web --min=1 --max=2 --cpu=50%
eventually 20 replicas web '[2]'
eventually 10 out_has 'New size: 2; reason: Current number of replicas above Spec.MaxReplicas' kubectl get events --field-selector reason=SuccessfulRescale
eventually 10 out_has 'True SucceededRescale' condition web AbleToScale
check kubectl patch hpa web -p '{"spec":{"minReplicas":3,"maxReplicas":5}}'
eventually 20 replicas web '[3]'
check_out 'True SucceededRescale' condition web AbleToScale

step "without a metrics API it says so and scales nothing"
check kubectl patch hpa web -p '{"spec":{"minReplicas":1}}'
eventually 20 out_has 'False FailedGetResourceMetric' condition web ScalingActive
check_out 'the server could not find the requested resource (get pods.metrics.k8s.io)' kubectl describe hpa web
check_out 'True SucceededGetScale' condition web AbleToScale
check_out 'cpu: <unknown>/50%' kubectl get hpa web
check replicas web '[3]'

step "a target that is off, or not there"
check kubectl scale deployment web --replicas=0
check kubectl patch hpa web -p '{"spec":{"maxReplicas":6}}'
eventually 20 out_has 'False ScalingDisabled' condition web ScalingActive
check kubectl delete deployment web
check kubectl patch hpa web -p '{"spec":{"maxReplicas":7}}'
eventually 20 out_has 'False FailedGetScale' condition web AbleToScale
check_out 'deployments.apps "web" not found' kubectl describe hpa web
check kubectl delete hpa web
down
