module github.com/alphapanda/alphapanda/clients/go

go 1.26.0

require (
	github.com/alphapanda/alphapanda/gen/go v0.0.0
	github.com/google/uuid v1.6.0
	github.com/shopspring/decimal v1.4.0
	google.golang.org/genproto v0.0.0-20261026165753-2ffab32bce7e
	google.golang.org/genproto/googleapis/rpc v0.0.0-20261019180522-ce908d29299b
	google.golang.org/grpc v1.85.0
	google.golang.org/protobuf v1.36.12
)

require (
	buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go v1.36.12-20260825204119-511051f7f437.2 // indirect
	golang.org/x/net v0.60.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
	golang.org/x/text v0.42.0 // indirect
)

replace github.com/alphapanda/alphapanda/gen/go => ../../gen/go
