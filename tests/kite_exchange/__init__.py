"""A stub of Zerodha's Kite Connect: real HTTP and WebSocket, an account with its own arithmetic, and misbehaviour on demand."""
