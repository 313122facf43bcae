package alphapanda

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"testing"
	"time"

	commonv1 "github.com/alphapanda/alphapanda/gen/go/panda/common/v1"
	tradingv1 "github.com/alphapanda/alphapanda/gen/go/panda/trading/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	money "google.golang.org/genproto/googleapis/type/decimal"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

func TestPlainTextStaysOnThisMachine(t *testing.T) {
	if _, err := Connect("192.0.2.1:50051"); err == nil {
		t.Error("another machine was spoken to in plain text")
	}
	for _, target := range []string{"127.0.0.1:50051", "localhost:1", "[::1]:50051"} {
		client, err := Connect(target)
		if err != nil {
			t.Errorf("%s: %v", target, err)
			continue
		}
		_ = client.Close()
	}
}

func TestReadyWaitsForAnAttemptAndTheCallTellsHowItEnded(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	go func() { _ = server.Serve(listener) }()
	check := func(want codes.Code) {
		client, err := Connect(listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = client.Close() }()
		if err := client.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err = client.Trading.GetOrder(t.Context(), &tradingv1.GetOrderRequest{})
		if status.Code(err) != want {
			t.Errorf("expected %s, was told %v", want, err)
		}
	}
	check(codes.Unimplemented)
	server.Stop()
	check(codes.Unavailable)
}

func TestACommandGetsARequestIDAndKeepsItsOwn(t *testing.T) {
	var sent []*tradingv1.PlaceOrderRequest
	send := func(_ context.Context, _ string, request, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
		sent = append(sent, request.(*tradingv1.PlaceOrderRequest))
		return nil
	}
	bare := &tradingv1.PlaceOrderRequest{Symbol: "NSE:INFY"}
	for _, request := range []*tradingv1.PlaceOrderRequest{bare, bare, {RequestId: "mine"}} {
		if err := prepare(t.Context(), "/panda.trading.v1.TradingService/PlaceOrder", request, nil, nil, send); err != nil {
			t.Fatal(err)
		}
	}
	if len(sent[0].GetRequestId()) != 36 || sent[0].GetSymbol() != "NSE:INFY" {
		t.Errorf("sent %v", sent[0])
	}
	if bare.GetRequestId() != "" || sent[0].GetRequestId() == sent[1].GetRequestId() {
		t.Errorf("the caller's message, sent twice as two commands, was named %q", bare.GetRequestId())
	}
	if sent[2].GetRequestId() != "mine" {
		t.Errorf("request_id is %q", sent[2].GetRequestId())
	}
}

func TestDeadlinesAndRetriesAreTheContracts(t *testing.T) {
	if deadlines()["/panda.trading.v1.TradingService/PlaceOrder"] <= 0 {
		t.Error("PlaceOrder has no deadline")
	}
	var config struct {
		MethodConfig []struct {
			Name []struct{ Service, Method string } `json:"name"`
		} `json:"methodConfig"`
	}
	if err := json.Unmarshal([]byte(ServiceConfig()), &config); err != nil {
		t.Fatal(err)
	}
	if len(config.MethodConfig[0].Name) != len(policies()) {
		t.Errorf("%d of %d RPCs are retried", len(config.MethodConfig[0].Name), len(policies()))
	}
}

func TestAnErrorTellsReasonFieldsAndWait(t *testing.T) {
	told, err := status.New(codes.ResourceExhausted, "too many").WithDetails(
		&errdetails.ErrorInfo{Reason: "OVERLOADED", Domain: "alphapanda"},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "quantity", Description: "> 0"}}},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(2 * time.Second)},
	)
	if err != nil {
		t.Fatal(err)
	}
	found := AsError(told.Err())
	if found.Reason != "OVERLOADED" || found.Fields["quantity"] != "> 0" || found.RetryAfter != 2*time.Second {
		t.Errorf("%+v", found)
	}
	if AsError(nil) != nil || AsError(io.EOF) != nil {
		t.Error("an error without a status has none")
	}
}

func TestMoneyIsExactAndAbsentIsUnknown(t *testing.T) {
	rupees, err := Rupees(&commonv1.Money{CurrencyCode: "INR", Amount: &money.Decimal{Value: "0.10"}})
	if err != nil || rupees.Add(rupees).Add(rupees).String() != "0.3" {
		t.Errorf("%v, %v", rupees, err)
	}
	if _, err := Rupees(nil); err == nil {
		t.Error("an absent amount was taken for one")
	}
	if _, err := Rupees(&commonv1.Money{CurrencyCode: "USD", Amount: &money.Decimal{Value: "1"}}); err == nil {
		t.Error("dollars were taken for rupees")
	}
}

// stream answers with its messages, then with an error.
type stream struct {
	messages []*tradingv1.WatchOrdersResponse
	err      error
}

func (s *stream) Recv() (*tradingv1.WatchOrdersResponse, error) {
	if len(s.messages) == 0 {
		return nil, s.err
	}
	message := s.messages[0]
	s.messages = s.messages[1:]
	return message, nil
}
func (s *stream) Header() (metadata.MD, error) { return nil, nil }
func (s *stream) Trailer() metadata.MD         { return nil }
func (s *stream) CloseSend() error             { return nil }
func (s *stream) Context() context.Context     { return context.Background() }
func (s *stream) SendMsg(any) error            { return nil }
func (s *stream) RecvMsg(any) error            { return nil }

func TestAWatchGoesOnFromItsRevision(t *testing.T) {
	streams := []*stream{
		{[]*tradingv1.WatchOrdersResponse{{Revision: 4}}, status.Error(codes.Unavailable, "restarting")},
		{nil, status.Error(codes.OutOfRange, "the revision is gone")},
		{[]*tradingv1.WatchOrdersResponse{{Revision: 9}}, io.EOF},
		{nil, status.Error(codes.PermissionDenied, "not yours")},
	}
	var asked []uint64
	var after uint64
	open := func(context.Context) (grpc.ServerStreamingClient[tradingv1.WatchOrdersResponse], error) {
		asked = append(asked, after)
		next := streams[0]
		streams = streams[1:]
		return next, nil
	}
	var seen []uint64
	var ended error
	for message, err := range watch(t.Context(), open,
		func(m *tradingv1.WatchOrdersResponse) { after = m.GetRevision() }, func() { after = 0 }) {
		if err != nil {
			ended = err
			continue
		}
		seen = append(seen, message.GetRevision())
	}
	if len(seen) != 2 || seen[0] != 4 || seen[1] != 9 || status.Code(ended) != codes.PermissionDenied {
		t.Errorf("saw %v, ended with %v", seen, ended)
	}
	if want := []uint64{0, 4, 0, 9}; len(asked) != 4 || asked[0] != want[0] || asked[1] != want[1] || asked[2] != want[2] || asked[3] != want[3] {
		t.Errorf("asked from %v", asked)
	}
}
