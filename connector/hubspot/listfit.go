package hubspot

// ListFits reports whether a list with these properties is one request per page, as far as is known: with more names than
// a URL has room for List needs two.
func (c *Client) ListFits(o Object, properties []string) bool {
	// A cursor is an id: at most 19 digits.
	return c.fits(c.listPath(ListRequest{Object: o, After: "9223372036854775807"}, properties))
}
