// Command scenarios replays clients/scenarios.json against a platform: scenarios TARGET FILE. It prints a line for each
// scenario and exits with 1 where one fails.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	alphapanda "github.com/alphapanda/alphapanda/clients/go"
	"github.com/shopspring/decimal"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

// patience is a call's deadline: scenarios are about answers, not about how soon they come.
const patience = time.Minute

type fact struct {
	Path    string  `json:"path"`
	Equals  *string `json:"equals"`
	Decimal *string `json:"decimal"`
	AtLeast *int    `json:"atLeast"`
	SaveAs  string  `json:"saveAs"`
}

type step struct {
	RPC     string          `json:"rpc"`
	Request json.RawMessage `json:"request"`
	Expect  struct {
		Code   string `json:"code"`
		Reason string `json:"reason"`
		Field  string `json:"field"`
		Facts  []fact `json:"facts"`
	} `json:"expect"`
}

type scenario struct {
	Name  string `json:"name"`
	Steps []step `json:"steps"`
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "scenarios TARGET FILE")
		os.Exit(2)
	}
	failed, err := run(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if failed > 0 {
		os.Exit(1)
	}
}

func run(target, file string) (int, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	var all struct {
		Scenarios []scenario `json:"scenarios"`
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	client, err := alphapanda.Connect(target, fromEnvironment()...)
	if err != nil {
		return 0, err
	}
	defer func() { _ = client.Close() }()
	if err := client.Ready(context.Background()); err != nil {
		return 0, err
	}
	failed := 0
	for _, one := range all.Scenarios {
		known := map[string]string{"run": alphapanda.NewRequestID()[:8]}
		outcome := "passed"
		for number, step := range one.Steps {
			if err := take(client, step, known); err != nil {
				outcome = fmt.Sprintf("FAILED at step %d: %v", number+1, err)
				failed++
				break
			}
		}
		fmt.Printf("%s: %s\n", one.Name, outcome)
	}
	return failed, nil
}

// fromEnvironment reads ALPHAPANDA_CA and ALPHAPANDA_TOKEN_FILE, as trader does.
func fromEnvironment() []alphapanda.Option {
	var options []alphapanda.Option
	if ca := os.Getenv("ALPHAPANDA_CA"); ca != "" {
		options = append(options, alphapanda.WithCA(ca))
	}
	if own := os.Getenv("ALPHAPANDA_CERT"); own != "" {
		options = append(options, alphapanda.WithCertificate(own, os.Getenv("ALPHAPANDA_CERT_KEY")))
	}
	if file := os.Getenv("ALPHAPANDA_TOKEN_FILE"); file != "" {
		options = append(options, alphapanda.WithTokenFile(file))
	}
	return options
}

func take(client *alphapanda.Client, step step, known map[string]string) error {
	service, name, _ := strings.Cut(step.RPC, "/")
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service + "." + name))
	if err != nil {
		return fmt.Errorf("%s: %w", step.RPC, err)
	}
	method := found.(protoreflect.MethodDescriptor)
	request := dynamicpb.NewMessage(method.Input())
	if err := protojson.Unmarshal([]byte(filled(string(step.Request), known)), request); err != nil {
		return err
	}
	response := dynamicpb.NewMessage(method.Output())
	ctx, cancel := alphapanda.Until(context.Background(), patience)
	defer cancel()
	err = client.Conn.Invoke(ctx, "/"+step.RPC, request, response)
	if err != nil {
		return refusedAsExpected(step, alphapanda.AsError(err))
	}
	if step.Expect.Code != "OK" {
		return fmt.Errorf("answered, where %s was expected", step.Expect.Code)
	}
	text, err := protojson.Marshal(response)
	if err != nil {
		return err
	}
	var answer any
	if err := json.Unmarshal(text, &answer); err != nil {
		return err
	}
	for _, fact := range step.Expect.Facts {
		if err := holds(fact, answer, known); err != nil {
			return err
		}
	}
	return nil
}

func refusedAsExpected(step step, told *alphapanda.Error) error {
	if told == nil || codeName(told) != step.Expect.Code {
		return fmt.Errorf("expected %s, was told %v", step.Expect.Code, told)
	}
	if step.Expect.Reason != "" && told.Reason != step.Expect.Reason {
		return fmt.Errorf("expected the reason %s, was told %s", step.Expect.Reason, told.Reason)
	}
	if _, named := told.Fields[step.Expect.Field]; step.Expect.Field != "" && !named {
		return fmt.Errorf("expected the field %s, was told of %v", step.Expect.Field, told.Fields)
	}
	return nil
}

func holds(fact fact, answer any, known map[string]string) error {
	value := at(answer, fact.Path)
	switch {
	case fact.AtLeast != nil:
		if items, _ := value.([]any); len(items) < *fact.AtLeast {
			return fmt.Errorf("%s has %d items, expected at least %d", fact.Path, len(items), *fact.AtLeast)
		}
	case fact.Equals != nil:
		if wanted := filled(*fact.Equals, known); value != wanted {
			return fmt.Errorf("%s is %v, expected %s", fact.Path, value, wanted)
		}
	case fact.Decimal != nil:
		text, _ := value.(string)
		is, err := decimal.NewFromString(text)
		if err != nil || !is.Equal(decimal.RequireFromString(*fact.Decimal)) {
			return fmt.Errorf("%s is %v, expected %s", fact.Path, value, *fact.Decimal)
		}
	}
	if fact.SaveAs != "" {
		text, ok := value.(string)
		if !ok || text == "" {
			return fmt.Errorf("%s is %v, expected a text", fact.Path, value)
		}
		known[fact.SaveAs] = text
	}
	return nil
}

// at finds the value of a path such as "order.intents.0.tag"; nil where there is none.
func at(value any, path string) any {
	for part := range strings.SplitSeq(path, ".") {
		switch here := value.(type) {
		case map[string]any:
			value = here[part]
		case []any:
			index, err := strconv.Atoi(part)
			if err != nil || index >= len(here) {
				return nil
			}
			value = here[index]
		default:
			return nil
		}
	}
	return value
}

func filled(text string, known map[string]string) string {
	for name, value := range known {
		text = strings.ReplaceAll(text, "${"+name+"}", value)
	}
	return text
}

// codeName is the code as gRPC spells it in its documents, such as "NOT_FOUND".
func codeName(told *alphapanda.Error) string {
	var spelt strings.Builder
	for at, letter := range told.Code.String() {
		if at > 0 && letter >= 'A' && letter <= 'Z' && told.Code != codes.OK {
			spelt.WriteByte('_')
		}
		spelt.WriteRune(letter)
	}
	return strings.ToUpper(spelt.String())
}
