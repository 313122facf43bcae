package alphapanda

import (
	"fmt"

	commonv1 "github.com/alphapanda/alphapanda/gen/go/panda/common/v1"
	"github.com/shopspring/decimal"
	money "google.golang.org/genproto/googleapis/type/decimal"
)

// Decimal reads an exact decimal of the contract; an absent one is an error, because absent means unknown, not 0.
func Decimal(value *money.Decimal) (decimal.Decimal, error) {
	if value == nil {
		return decimal.Decimal{}, fmt.Errorf("the value is absent: it isn't known")
	}
	return decimal.NewFromString(value.GetValue())
}

// Rupees reads an amount in rupees.
func Rupees(amount *commonv1.Money) (decimal.Decimal, error) {
	if amount == nil {
		return decimal.Decimal{}, fmt.Errorf("the amount is absent: it isn't known")
	}
	if amount.GetCurrencyCode() != "INR" {
		return decimal.Decimal{}, fmt.Errorf("the amount is in %s, not in rupees", amount.GetCurrencyCode())
	}
	return Decimal(amount.GetAmount())
}
