package alphapanda

import (
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Error is a refusal or failure as the platform told it.
type Error struct {
	Code       codes.Code
	Message    string
	Reason     string            // such as "VALIDATION"; the ops page of the project lists them
	Metadata   map[string]string // what it was about
	Fields     map[string]string // fields of the request that break a rule, each with what is allowed
	RetryAfter time.Duration     // wait at least so long before the next attempt; 0 where none was named
}

func (e *Error) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("%s: %s", e.Code, e.Message)
	}
	return fmt.Sprintf("%s (%s): %s", e.Code, e.Reason, e.Message)
}

// AsError reads the error of a call; nil where it has none of gRPC's.
func AsError(err error) *Error {
	told, ok := status.FromError(err)
	if err == nil || !ok {
		return nil
	}
	found := &Error{Code: told.Code(), Message: told.Message(), Fields: map[string]string{}}
	for _, detail := range told.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			found.Reason, found.Metadata = detail.GetReason(), detail.GetMetadata()
		case *errdetails.BadRequest:
			for _, broken := range detail.GetFieldViolations() {
				found.Fields[broken.GetField()] = broken.GetDescription()
			}
		case *errdetails.RetryInfo:
			found.RetryAfter = detail.GetRetryDelay().AsDuration()
		}
	}
	return found
}
