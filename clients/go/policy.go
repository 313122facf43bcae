package alphapanda

import (
	"encoding/json"
	"strings"
	"sync"
	"time"

	optionsv1 "github.com/alphapanda/alphapanda/gen/go/panda/options/v1"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// NewRequestID makes the id of a new command. Send a command again with its first id and it has one effect.
func NewRequestID() string { return uuid.NewString() }

// policies are the contract's options of each RPC, by "/package.Service/Method".
var policies = sync.OnceValue(func() map[string]*optionsv1.MethodPolicy {
	found := map[string]*optionsv1.MethodPolicy{}
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		if !strings.HasPrefix(string(file.Package()), "panda.") {
			return true
		}
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				method := service.Methods().Get(j)
				policy, ok := proto.GetExtension(method.Options(), optionsv1.E_Method).(*optionsv1.MethodPolicy)
				if ok && policy != nil {
					found["/"+string(service.FullName())+"/"+string(method.Name())] = policy
				}
			}
		}
		return true
	})
	return found
})

func deadlines() map[string]time.Duration {
	return defaultDeadlines()
}

var defaultDeadlines = sync.OnceValue(func() map[string]time.Duration {
	found := map[string]time.Duration{}
	for method, policy := range policies() {
		found[method] = time.Duration(policy.GetDefaultDeadlineMs()) * time.Millisecond
	}
	return found
})

// ServiceConfig is gRPC's service config, made of the contract's options: what may be repeated, and when.
func ServiceConfig() string {
	type name struct {
		Service string `json:"service"`
		Method  string `json:"method"`
	}
	var names []name
	for method, policy := range policies() {
		if policy.GetRetry() != optionsv1.Retry_RETRY_UNSPECIFIED {
			parts := strings.Split(method, "/")
			names = append(names, name{parts[1], parts[2]})
		}
	}
	config := map[string]any{
		"loadBalancingConfig": []any{map[string]any{"round_robin": map[string]any{}}},
		"methodConfig": []any{map[string]any{
			"name": names,
			"retryPolicy": map[string]any{
				"maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
				"retryableStatusCodes": []string{"UNAVAILABLE", "RESOURCE_EXHAUSTED"},
			},
		}},
	}
	text, err := json.Marshal(config)
	if err != nil {
		panic(err) // strings and numbers can always be written
	}
	return string(text)
}

// named is the request itself, or a copy with a new request_id where it has that field and none is set: the caller's
// message stays as it is, so that sending it once more is a new command.
func named(request any) any {
	message, ok := request.(proto.Message)
	if !ok {
		return request
	}
	field := message.ProtoReflect().Descriptor().Fields().ByName("request_id")
	if field == nil || field.Kind() != protoreflect.StringKind || message.ProtoReflect().Get(field).String() != "" {
		return request
	}
	own := proto.Clone(message)
	own.ProtoReflect().Set(field, protoreflect.ValueOfString(NewRequestID()))
	return own
}
