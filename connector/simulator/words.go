package simulator

// Word lists that base values are made of. None needs escaping in JSON.
var (
	firstNames = []string{"Anna", "Ben", "Clara", "David", "Elena", "Felix", "Grace", "Hugo", "Ines", "Jonas", "Katharina", "Liam", "Mia", "Noah", "Olivia",
		"Paul", "Quentin", "Rosa", "Søren", "Thomas", "Ursula", "Viktor", "Wanda", "Xavier", "Yara", "Zoë", "José", "Łukasz", "Þóra", "Siobhán", "Nguyễn", "美咲",
		"Мария", "محمد", "Ayşe", "Björn", "Chloë", "Dvořák", "Emma", "Frank"}
	lastNames = []string{"Adams", "Bauer", "Castillo", "Dupont", "Eriksson", "Fischer", "García", "Hughes", "Ivanov", "Jensen", "Kowalski", "Lefèvre", "Müller",
		"Novák", "O'Brien", "Petrov", "Quinn", "Rossi", "Schmidt", "Tanaka", "Ünal", "Varga", "Weber", "Xu", "Young", "Zimmermann", "D'Angelo", "van der Berg",
		"Smith-Jones", "Çelik", "Nakamura", "Okafor", "Peña", "Šimek", "Wójcik"}
	asciiFirst = []string{"anna", "ben", "clara", "david", "elena", "felix", "grace", "hugo", "ines", "jonas", "kat", "liam", "mia", "noah", "olivia", "paul"}
	companies  = []string{"Acme", "Borealis", "Cobalt", "Dynamo", "Evergreen", "Fjord", "Granite", "Harbor", "Indigo", "Juniper", "Kestrel", "Lumen", "Meridian",
		"Northwind", "Onyx", "Pioneer", "Quartz", "Redwood", "Summit", "Tundra", "Umbra", "Vertex", "Willow", "Xenon", "Yellowstone", "Zephyr"}
	suffixes  = []string{"GmbH", "Inc", "LLC", "Ltd", "AG", "SA", "BV", "AB", "Oy", "s.r.o.", "KK", "Pty"}
	cities    = []string{"Berlin", "Boston", "Bogotá", "Dublin", "Genève", "Helsinki", "Kyōto", "Lisboa", "London", "Lyon", "München", "New York", "Oslo", "Paris", "Praha", "São Paulo", "Singapore", "Sydney", "Toronto", "Wien", "Zürich"}
	countries = []string{"Australia", "Austria", "Brazil", "Canada", "Colombia", "Czechia", "Finland", "France", "Germany", "Ireland", "Japan", "Norway", "Portugal", "Singapore", "Switzerland", "United Kingdom", "United States"}
	streets   = []string{"Hauptstraße", "Main Street", "Rue de la Paix", "Station Road", "Calle Mayor", "Storgatan", "Via Roma", "High Street", "Park Avenue"}
	jobs      = []string{"CEO", "CFO", "CTO", "Head of Sales", "Marketing Manager", "Software Engineer", "Buyer", "Office Manager", "Consultant", "VP Operations", "Geschäftsführer", "Data Analyst"}
	words     = []string{"alpha", "budget", "call", "demo", "email", "follow-up", "growth", "hire", "invoice", "journey", "kick-off", "launch", "meeting", "next", "offer",
		"project", "quote", "renewal", "support", "trial", "upgrade", "vendor", "website", "yearly"}
)

func pick(list []string, h uint64) string { return list[h%uint64(len(list))] }
