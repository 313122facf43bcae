package alphapanda

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	marketdatav1 "github.com/alphapanda/alphapanda/gen/go/panda/marketdata/v1"
	portfoliov1 "github.com/alphapanda/alphapanda/gen/go/panda/portfolio/v1"
	tradingv1 "github.com/alphapanda/alphapanda/gen/go/panda/trading/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

const (
	firstWait   = 100 * time.Millisecond
	longestWait = 5 * time.Second
)

// WatchOrders goes on from the last revision after a break, so that each change of an order is seen once. It ends with
// the context, or with an error that a further attempt can't mend.
func (c *Client) WatchOrders(
	ctx context.Context, request *tradingv1.WatchOrdersRequest,
) iter.Seq2[*tradingv1.WatchOrdersResponse, error] {
	request = proto.CloneOf(request)
	return watch(ctx, func(ctx context.Context) (grpc.ServerStreamingClient[tradingv1.WatchOrdersResponse], error) {
		return c.Trading.WatchOrders(ctx, request)
	}, func(message *tradingv1.WatchOrdersResponse) {
		request.AfterRevision = message.GetRevision()
	}, func() { request.AfterRevision = 0 })
}

// WatchPortfolio goes on from the last revision after a break.
func (c *Client) WatchPortfolio(
	ctx context.Context, request *portfoliov1.WatchPortfolioRequest,
) iter.Seq2[*portfoliov1.WatchPortfolioResponse, error] {
	request = proto.CloneOf(request)
	return watch(ctx, func(ctx context.Context) (grpc.ServerStreamingClient[portfoliov1.WatchPortfolioResponse], error) {
		return c.Portfolio.WatchPortfolio(ctx, request)
	}, func(message *portfoliov1.WatchPortfolioResponse) {
		request.AfterRevision = message.GetRevision()
	}, func() { request.AfterRevision = 0 })
}

// WatchQuotes begins again with a snapshot after a break: quotes have no revision.
func (c *Client) WatchQuotes(
	ctx context.Context, request *marketdatav1.WatchQuotesRequest,
) iter.Seq2[*marketdatav1.WatchQuotesResponse, error] {
	request = proto.CloneOf(request)
	return watch(ctx, func(ctx context.Context) (grpc.ServerStreamingClient[marketdatav1.WatchQuotesResponse], error) {
		return c.MarketData.WatchQuotes(ctx, request)
	}, func(*marketdatav1.WatchQuotesResponse) {}, func() {})
}

func watch[M any](
	ctx context.Context,
	open func(context.Context) (grpc.ServerStreamingClient[M], error),
	seen func(*M),
	beginAgain func(),
) iter.Seq2[*M, error] {
	return func(yield func(*M, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		wait := firstWait
		for {
			stream, err := open(ctx)
			for err == nil {
				var message *M
				if message, err = stream.Recv(); err == nil {
					wait = firstWait
					seen(message)
					if !yield(message, nil) {
						return
					}
				}
			}
			if ctx.Err() != nil {
				return
			}
			told := AsError(err)
			switch {
			case errors.Is(err, io.EOF): // the server stops: another one goes on
			case told != nil && told.Code == codes.OutOfRange: // the revision is gone
				beginAgain()
			case told != nil && (told.Code == codes.Unavailable || told.Code == codes.ResourceExhausted):
				wait = max(wait, told.RetryAfter)
			default:
				yield(nil, err)
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
				wait = min(2*wait, longestWait)
			}
		}
	}
}
