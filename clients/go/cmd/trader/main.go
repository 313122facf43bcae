// Command trader shows what the client does: trader TARGET [SYMBOL]. It prints one JSON line for each step: portfolio, positions,
// quotes and orders as they are watched, a paper order placed twice with one request_id, and its square-off.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	alphapanda "github.com/alphapanda/alphapanda/clients/go"
	commonv1 "github.com/alphapanda/alphapanda/gen/go/panda/common/v1"
	marketdatav1 "github.com/alphapanda/alphapanda/gen/go/panda/marketdata/v1"
	portfoliov1 "github.com/alphapanda/alphapanda/gen/go/panda/portfolio/v1"
	tradingv1 "github.com/alphapanda/alphapanda/gen/go/panda/trading/v1"
)

const (
	quantity = 10
	quotes   = 3
)

func main() {
	symbol := "NSE:INFY"
	switch len(os.Args) {
	case 2:
	case 3:
		symbol = os.Args[2]
	default:
		fmt.Fprintln(os.Stderr, "trader TARGET [SYMBOL]; ALPHAPANDA_CA and ALPHAPANDA_TOKEN_FILE are read")
		os.Exit(2)
	}
	if err := trade(os.Args[1], symbol); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func trade(target, symbol string) error {
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
	client, err := alphapanda.Connect(target, options...)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	patience, err := time.ParseDuration(cmp.Or(os.Getenv("ALPHAPANDA_PATIENCE_SECONDS"), "60") + "s")
	if err != nil {
		return fmt.Errorf("ALPHAPANDA_PATIENCE_SECONDS: %w", err)
	}
	ctx, cancel := alphapanda.Until(context.Background(), patience)
	defer cancel()
	if err := client.Ready(ctx); err != nil {
		return err
	}
	if err := showBooks(ctx, client); err != nil {
		return err
	}
	if err := showQuotes(ctx, client, symbol); err != nil {
		return err
	}
	return buyAndSell(ctx, client, symbol)
}

func showBooks(ctx context.Context, client *alphapanda.Client) error {
	books, err := client.Portfolio.GetPortfolio(ctx, &portfoliov1.GetPortfolioRequest{Broker: "paper"})
	if err != nil {
		return err
	}
	cash, err := alphapanda.Rupees(books.GetPortfolio().GetCash())
	if err != nil {
		return err
	}
	positions, err := client.Portfolio.ListPositions(ctx, &portfoliov1.ListPositionsRequest{Broker: "paper"})
	if err != nil {
		return err
	}
	say(map[string]any{"step": "books", "cash": cash.StringFixed(2), "positions": len(positions.GetPositions())})
	return nil
}

func showQuotes(ctx context.Context, client *alphapanda.Client, symbol string) error {
	seen := 0
	request := &marketdatav1.WatchQuotesRequest{Symbols: []string{symbol}}
	for message, err := range client.WatchQuotes(ctx, request) {
		if err != nil {
			return err
		}
		for _, quote := range message.GetQuotes() {
			price, err := alphapanda.Decimal(quote.GetLastPrice())
			if err != nil {
				return err
			}
			seen++
			say(map[string]any{"step": "quote", "symbol": symbol, "price": price.StringFixed(2)})
		}
		if seen >= quotes {
			return nil
		}
	}
	return fmt.Errorf("fewer than %d quotes of %s in time", quotes, symbol)
}

func buyAndSell(ctx context.Context, client *alphapanda.Client, symbol string) error {
	order := &tradingv1.PlaceOrderRequest{
		RequestId: alphapanda.NewRequestID(), Broker: "paper", Symbol: symbol,
		Side: commonv1.Side_SIDE_BUY, Quantity: quantity,
	}
	first, err := client.Trading.PlaceOrder(ctx, order)
	if err != nil {
		return err
	}
	second, err := client.Trading.PlaceOrder(ctx, order)
	if err != nil {
		return err
	}
	id := first.GetOrder().GetState().GetOrderId()
	say(map[string]any{"step": "order", "order_id": id, "same": id == second.GetOrder().GetState().GetOrderId()})
	if err := untilFilled(ctx, client, id); err != nil {
		return err
	}
	squared, err := client.Trading.SquareOff(ctx, &tradingv1.SquareOffRequest{
		Broker: "paper", StrategyId: "manual", Symbol: symbol, Reason: "the trader example ends",
	})
	if err != nil {
		return err
	}
	say(map[string]any{"step": "square-off", "positions": len(squared.GetPlan())})
	return nil
}

// untilFilled watches an order to its end, which may be another one than a fill.
func untilFilled(ctx context.Context, client *alphapanda.Client, id string) error {
	request := &tradingv1.WatchOrdersRequest{Broker: "paper", StrategyId: "manual"}
	for message, err := range client.WatchOrders(ctx, request) {
		if err != nil {
			return err
		}
		for _, one := range message.GetOrders() {
			if one.GetState().GetOrderId() != id {
				continue
			}
			switch status := one.GetState().GetStatus(); status {
			case commonv1.OrderStatus_ORDER_STATUS_FILLED:
				say(map[string]any{"step": "filled", "order_id": id, "quantity": quantity})
				return nil
			case commonv1.OrderStatus_ORDER_STATUS_CANCELLED, commonv1.OrderStatus_ORDER_STATUS_REJECTED,
				commonv1.OrderStatus_ORDER_STATUS_FAILED:
				say(map[string]any{
					"step": "failed", "order_id": id, "status": status.String(),
					"reason": one.GetFailureReason().String(), "message": one.GetMessage(),
				})
				return fmt.Errorf("order %s wasn't filled: %s", id, one.GetMessage())
			}
		}
	}
	return fmt.Errorf("order %s didn't end in time", id)
}

func say(line map[string]any) {
	text, err := json.Marshal(line)
	if err != nil {
		panic(err) // texts and numbers can always be written
	}
	fmt.Println(string(text))
}
