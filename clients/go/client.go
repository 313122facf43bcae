// Package alphapanda is a client of Alpha Panda: a connection with TLS and token, deadlines and retries as the contract
// says, request ids made for you, exact decimals, watches that go on after a break, and errors with reason and fields.
package alphapanda

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	authv1 "github.com/alphapanda/alphapanda/gen/go/panda/auth/v1"
	instrumentsv1 "github.com/alphapanda/alphapanda/gen/go/panda/instruments/v1"
	marketdatav1 "github.com/alphapanda/alphapanda/gen/go/panda/marketdata/v1"
	opsv1 "github.com/alphapanda/alphapanda/gen/go/panda/ops/v1"
	portfoliov1 "github.com/alphapanda/alphapanda/gen/go/panda/portfolio/v1"
	riskv1 "github.com/alphapanda/alphapanda/gen/go/panda/risk/v1"
	strategyv1 "github.com/alphapanda/alphapanda/gen/go/panda/strategy/v1"
	tradingv1 "github.com/alphapanda/alphapanda/gen/go/panda/trading/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// Client has the platform's services over one connection. Close it in the end.
type Client struct {
	Conn           *grpc.ClientConn
	Auth           authv1.AuthServiceClient
	BrokerSessions authv1.BrokerSessionServiceClient
	Instruments    instrumentsv1.InstrumentServiceClient
	MarketData     marketdatav1.MarketDataServiceClient
	Ops            opsv1.OpsServiceClient
	Portfolio      portfoliov1.PortfolioServiceClient
	Risk           riskv1.RiskServiceClient
	Strategies     strategyv1.StrategyServiceClient
	Trading        tradingv1.TradingServiceClient
}

type settings struct {
	token   func() (string, error)
	ca      string
	pair    [2]string // files of a certificate and its key
	tls     bool
	options []grpc.DialOption
}

// Option changes how Connect connects.
type Option func(*settings)

// WithToken sends an access token with each call.
func WithToken(token string) Option {
	return func(s *settings) { s.token = func() (string, error) { return token, nil } }
}

// WithTokenFile sends the token that a file holds at the time of the call, so that who renews the file renews the token.
func WithTokenFile(path string) Option {
	return func(s *settings) {
		s.token = func() (string, error) {
			text, err := os.ReadFile(path)
			return strings.TrimSpace(string(text)), err
		}
	}
}

// WithCA speaks TLS and trusts the certificates of a PEM file.
func WithCA(path string) Option { return func(s *settings) { s.ca, s.tls = path, true } }

// WithCertificate shows a certificate to the server, of two PEM files, where it asks for one (mTLS); it goes with WithCA
// or WithTLS.
func WithCertificate(certificate, key string) Option {
	return func(s *settings) { s.pair = [2]string{certificate, key} }
}

// WithTLS speaks TLS and trusts what the system trusts.
func WithTLS() Option { return func(s *settings) { s.tls = true } }

// WithDialOption adds an option of grpc-go.
func WithDialOption(option grpc.DialOption) Option {
	return func(s *settings) { s.options = append(s.options, option) }
}

// Connect opens a client of a target such as "127.0.0.1:50051". It connects when first used.
//
// Without TLS it speaks plain text, which it refuses to anywhere but this machine.
func Connect(target string, options ...Option) (*Client, error) {
	chosen := settings{}
	for _, option := range options {
		option(&chosen)
	}
	transport, err := transportOf(target, chosen)
	if err != nil {
		return nil, err
	}
	dial := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultServiceConfig(ServiceConfig()),
		grpc.WithUnaryInterceptor(prepare),
		// A connection that broke without a word would let a watch wait for ever.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16 << 20)),
	}
	if chosen.token != nil {
		dial = append(dial, grpc.WithPerRPCCredentials(bearer{chosen.token, chosen.tls}))
	}
	conn, err := grpc.NewClient(target, append(dial, chosen.options...)...)
	if err != nil {
		return nil, err
	}
	return &Client{
		Conn:           conn,
		Auth:           authv1.NewAuthServiceClient(conn),
		BrokerSessions: authv1.NewBrokerSessionServiceClient(conn),
		Instruments:    instrumentsv1.NewInstrumentServiceClient(conn),
		MarketData:     marketdatav1.NewMarketDataServiceClient(conn),
		Ops:            opsv1.NewOpsServiceClient(conn),
		Portfolio:      portfoliov1.NewPortfolioServiceClient(conn),
		Risk:           riskv1.NewRiskServiceClient(conn),
		Strategies:     strategyv1.NewStrategyServiceClient(conn),
		Trading:        tradingv1.NewTradingServiceClient(conn),
	}, nil
}

// Ready connects and returns once a first attempt has ended, so that no call's deadline is spent on it. An attempt that
// failed is no error here: the first call tells why. It returns the context's error where that ends before.
func (c *Client) Ready(ctx context.Context) error {
	c.Conn.Connect()
	for {
		state := c.Conn.GetState()
		if state != connectivity.Idle && state != connectivity.Connecting {
			return nil
		}
		if !c.Conn.WaitForStateChange(ctx, state) {
			return ctx.Err()
		}
	}
}

// Close closes the connection.
func (c *Client) Close() error { return c.Conn.Close() }

func transportOf(target string, chosen settings) (credentials.TransportCredentials, error) {
	if !chosen.tls {
		if !onThisMachine(target) {
			return nil, fmt.Errorf("%s is another machine: use TLS (WithCA or WithTLS)", target)
		}
		return insecure.NewCredentials(), nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if chosen.ca != "" {
		pem, err := os.ReadFile(chosen.ca)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no certificate in PEM", chosen.ca)
		}
	}
	if chosen.pair[0] != "" {
		pair, err := tls.LoadX509KeyPair(chosen.pair[0], chosen.pair[1])
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return credentials.NewTLS(config), nil
}

func onThisMachine(target string) bool {
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

type bearer struct {
	token func() (string, error)
	tls   bool
}

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	token, err := b.token()
	if err != nil {
		return nil, err
	}
	return map[string]string{"authorization": "Bearer " + token}, nil
}

func (b bearer) RequireTransportSecurity() bool { return b.tls }

// prepare gives a call its default deadline and a command its request id; gRPC's retries repeat the same id.
func prepare(
	ctx context.Context, method string, request, reply any,
	conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	if _, has := ctx.Deadline(); !has {
		if deadline, known := deadlines()[method]; known {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, deadline)
			defer cancel()
		}
	}
	return invoke(ctx, method, named(request), reply, conn, options...)
}

// Until is a shorthand for a context with a deadline.
func Until(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, limit)
}
