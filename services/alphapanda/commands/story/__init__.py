"""The story of one order, told from rows and topics: what is asked, how it is put together, how it is shown."""
