package simulator

import (
	"fmt"
	"strings"
)

// Owner is a user that records can belong to.
type Owner struct {
	ID        string `json:"id"`
	Email     string `json:"email"`
	FirstName string `json:"firstName"`
	LastName  string `json:"lastName"`
	Type      string `json:"type"` // PERSON or QUEUE
	UserID    int64  `json:"userId"`
	Archived  bool   `json:"archived"`
	Teams     []Team `json:"teams"`
	CreatedAt int64  `json:"createdAt"` // epoch ms
	UpdatedAt int64  `json:"updatedAt"` // epoch ms
}

// Team is one that an owner belongs to.
type Team struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Primary bool   `json:"primary"`
}

func ownerID(i int) int64 { return 41_629_779 + int64(i)*1_003 }
func userID(i int) int64  { return 9_586_504 + int64(i)*311 }

func startOwners(n int) []Owner {
	list := make([]Owner, n)
	for i := range list {
		first := asciiFirst[i%len(asciiFirst)]
		list[i] = Owner{
			ID: formatID(ownerID(i)), Email: fmt.Sprintf("%s%d@hubtail.example", first, i), FirstName: strings.ToUpper(first[:1]) + first[1:],
			LastName: lastNames[i%len(lastNames)], Type: "PERSON", UserID: userID(i), CreatedAt: firstDay, UpdatedAt: firstDay + int64(i)*day,
		}
		if i%3 == 0 {
			list[i].Teams = []Team{{ID: "368389", Name: "Sales Team", Primary: true}}
		}
		if i == n-1 && n > 3 {
			list[i].Type = "QUEUE"
		}
	}
	return list
}

// appendOwner appends the owner as the API shows it. HubSpot rule: a deactivated owner has no userId any more.
func appendOwner(dst []byte, o *Owner) []byte {
	dst = append(dst, `{"id":`...)
	dst = appendJSONString(dst, o.ID)
	dst = append(dst, `,"email":`...)
	dst = appendJSONString(dst, o.Email)
	dst = append(dst, `,"type":`...)
	dst = appendJSONString(dst, o.Type)
	dst = append(dst, `,"firstName":`...)
	dst = appendJSONString(dst, o.FirstName)
	dst = append(dst, `,"lastName":`...)
	dst = appendJSONString(dst, o.LastName)
	dst = append(dst, `,"userId":`...)
	if o.Archived {
		dst = append(dst, "null"...)
	} else {
		dst = appendInt(dst, o.UserID)
	}
	dst = append(dst, `,"userIdIncludingInactive":`...)
	dst = appendInt(dst, o.UserID)
	dst = append(dst, `,"createdAt":"`...)
	dst = appendTime(dst, o.CreatedAt)
	dst = append(dst, `","updatedAt":"`...)
	dst = appendTime(dst, o.UpdatedAt)
	dst = append(dst, `","archived":`...)
	dst = appendBool(dst, o.Archived)
	if len(o.Teams) > 0 {
		dst = append(dst, `,"teams":[`...)
		for i, team := range o.Teams {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, `{"id":`...)
			dst = appendJSONString(dst, team.ID)
			dst = append(dst, `,"name":`...)
			dst = appendJSONString(dst, team.Name)
			dst = append(dst, `,"primary":`...)
			dst = append(appendBool(dst, team.Primary), '}')
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, "true"...)
	}
	return append(dst, "false"...)
}
