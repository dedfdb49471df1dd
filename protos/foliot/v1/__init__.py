"""The contract: the .proto files with the stubs generated from them."""
